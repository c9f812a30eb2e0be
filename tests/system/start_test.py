"""Starting and ending the server: configuration, arguments, resources that others have, what it tells about itself."""
import os
import signal
import socket
import subprocess
import tempfile
import unittest

import world
from world import SERVER4, SERVER6, Namespace, Packet, Server, Tap, World, WorldTest, eventually


def run_server(*arguments):
    """Where no EAL must be needed."""
    return subprocess.run(
        [world.server_program(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=world.PATIENCE,
    )


class ArgumentsTest(unittest.TestCase):
    def refused(self, *arguments):
        done = run_server(*arguments)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_help(self):
        done = run_server("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--echo", "--discard", "--seconds", "--stats-period", "--mib", "--config", "--address", "--vdev"):
            self.assertIn(word, done.stdout)

    def test_unknown_option(self):
        self.assertIn("--nonsense", self.refused("--nonsense"))

    def test_values(self):
        for words in (
            ["--echo", "70000"],
            ["--echo", "x"],
            ["--seconds", "-1"],
            ["--stats-period", "soon"],
            ["--mib=maybe"],
        ):
            with self.subTest(words):
                self.assertIn(words[0].split("=")[0], self.refused(*words))

    def test_one_port_for_both_services(self):
        self.assertIn("7", self.refused("--discard", "7"))

    def test_option_of_the_stack(self):
        told = self.refused("--address", "198.18.0.1/33")
        self.assertIn("--address 198.18.0.1/33", told)
        self.assertIn("expected", told)

    def test_configuration_is_refused_whole(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(
                '[stack]\nshards = 0\n\n[[port]]\ndevice = "net_tap0"\nmtu = 90000\ncolour = "red"\n'
                'addresses = ["198.18.0.1/24", "300.1.2.3/8"]\n'
            )
            file.flush()
            told = self.refused("--config", file.name).splitlines()
        where = {line.split(": ")[1]: line for line in told}
        self.assertEqual(sorted(where), ["port[0].addresses[1]", "port[0].colour", "port[0].mtu", "stack.shards"], told)
        for key, line in (("stack.shards", 2), ("port[0].mtu", 6), ("port[0].colour", 7), ("port[0].addresses[1]", 8)):
            self.assertTrue(where[key].startswith(f"{file.name}:{line}:"), where[key])
            self.assertIn("found", where[key])
            self.assertIn("expected", where[key])

    def test_no_such_file(self):
        self.assertIn("/nowhere.toml", self.refused("--config", "/nowhere.toml"))

    def test_broken_toml(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("[stack\n")
            file.flush()
            self.assertIn(f"{file.name}:1:", self.refused("--config", file.name))


class InNamespace(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        self.here = Namespace()
        self.addCleanup(self.here.close)

    def start(self, eal, *options):
        server = Server(self.here, eal, options)
        self.addCleanup(server.stop)
        return server

    def failing(self, eal, *options):
        server = self.start(eal, *options)
        self.assertEqual(server.wait(), 1, server.output)
        return server.output


class StartTest(InNamespace):
    tap = ["--vdev=net_tap0,iface=skua0"]

    def test_no_such_port(self):
        self.assertIn(
            'there is no DPDK port "net_tap1"',
            self.failing(self.tap, "--port", "net_tap1", "--address", "198.18.0.1/24"),
        )

    def test_device_is_taken(self):
        self.here.ip("link", "add", "skua0", "type", "veth", "peer", "name", "other")
        self.assertIn("there is no DPDK port", self.failing(self.tap, "--address", "198.18.0.1/24"))

    def test_seconds_and_periods(self):
        server = self.start(self.tap, "--address", "198.18.0.1/24", "--seconds", "3", "--stats-period", "1", "--mib")
        self.assertEqual(server.wait(), 0, server.output)
        self.assertGreaterEqual(server.output.count("service "), 2)
        self.assertRegex(server.output, r"\nUdp: InDatagrams NoPorts .*\nUdp: 0 0 ")
        self.assertRegex(server.output, r"\nUdp6InDatagrams\s+0\n")

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                server = self.start(self.tap, "--address", "198.18.0.1/24")
                server.wait_until_ready()
                self.assertEqual(server.stop(number), 0, server.output)
                self.assertIn("service ", server.output)
                # The device went with it.
                self.assertNotEqual(self.here.run("ip", "link", "show", "skua0", check=False).returncode, 0)

    def test_other_services(self):
        server = self.start(self.tap, "--address", "198.18.0.1/24", "--echo", "4007", "--discard", "0")
        server.wait_until_ready()
        self.here.add_addresses("skua0", "198.18.0.2/24")
        with self.here.socket() as s:
            s.connect((SERVER4, 4007))
            s.send(b"hello")
            self.assertEqual(s.recv(100), b"hello")
        with self.here.socket() as s:
            s.connect((SERVER4, 9))
            s.send(b"hello")
            with self.assertRaises(ConnectionRefusedError):
                s.recv(100)
        server.stop()
        self.assertEqual({row["socket"] for row in server.final_sockets()}, {"0.0.0.0:4007", "[::]:4007"})

    def test_what_it_says_at_its_start(self):
        server = self.start(
            self.tap,
            "--port",
            "net_tap0,name=skua0,mtu=1400",
            "--address",
            "198.18.0.1/24",
            "--address",
            "2001:db8::1/64",
        )
        server.wait_until_ready()
        for line in ("198.18.0.1/24 on skua0\n", "2001:db8::1/64 on skua0\n"):
            self.assertIn(line, server.output)
        for what in ("net_tap0 (net_tap), MAC ", "RX UDP checksum", "TX UDP checksum", "RETA"):
            self.assertIn(what, server.output)
        self.assertRegex(server.output, r"MTU +1400\n")
        self.assertIn("mtu 1400", self.here.ip("link", "show", "skua0"))

    def test_mtu_beyond_the_device(self):
        server = self.start(self.tap, "--port-mtu", "9000", "--address", "198.18.0.1/24")
        server.wait_until_ready()
        self.assertIn("MTU: 9000 asked for, the device allows", server.output)


class DuplicateTest(InNamespace):
    """Somebody on the link has our IPv6 address already."""

    def test_duplicate_address(self):
        other = Namespace()
        self.addCleanup(other.close)
        other.ip("link", "add", "peer0", "type", "veth", "peer", "name", "stack0", "netns", self.here.name)
        other.add_addresses("peer0", "2001:db8::1/64")
        other.ip("link", "set", "peer0", "up")
        self.here.sysctl(**{"net.ipv6.conf.stack0.disable_ipv6": 1})
        self.here.ip("link", "set", "stack0", "up")
        server = self.start(
            Packet().eal(1),
            "--port",
            "net_af_packet0,name=skua0",
            "--address",
            "2001:db8::1/64",
            "--address",
            "2001:db8::5/64",
        )
        server.wait_until_ready()
        self.assertIn("2001:db8::1/64 duplicate on skua0\n", server.output)
        self.assertIn("2001:db8::5/64 on skua0\n", server.output)


class TelemetryTest(WorldTest):
    @classmethod
    def make_world(cls):
        return World(Tap())

    def ask(self, *commands):
        text = "".join(c + "\n" for c in (*commands, "quit"))
        return self.world.stack.run("dpdk-telemetry.py", "-f", self.world.server.prefix, input=text).stdout

    def test_drops(self):
        with self.world.udp(port=4000) as s:
            s.send(b"anybody?")
            with self.assertRaises(ConnectionRefusedError):
                s.recv(100)
        self.assertGreaterEqual(self.world.server.drops()["udp_no_port"], 1)
        self.assertIn('"udp_no_port"', self.ask("/skua/drops"))

    def test_mib(self):
        with self.world.udp() as s:
            self.assert_echo(s, b"hello")
        counted = self.world.server.telemetry("/skua/mib,Udp")
        self.assertGreaterEqual(counted["InDatagrams"], 1)
        self.assertGreaterEqual(counted["OutDatagrams"], 1)
        self.assertIn("InDatagrams", self.ask("/skua/mib,Udp"))

    def test_shards(self):
        (row,) = self.world.server.rows("/skua/shards")
        self.assertEqual(row["shard"], 0)
        self.assertGreater(row["polls"], 0)
        self.assertIn('"busy_polls"', self.ask("/skua/shards"))

    def test_sockets_ports_interfaces_neighbours(self):
        self.assert_ping(SERVER4)
        self.assert_ping(SERVER6)
        sockets = {row["local"] for row in self.world.server.rows("/skua/sockets")}
        self.assertEqual(sockets, {"0.0.0.0:7", "[::]:7", "0.0.0.0:9", "[::]:9"})
        groups = self.world.server.rows("/skua/groups")
        self.assertEqual({g["local"] for g in groups}, sockets)
        self.assertEqual({(g["chooser"], g["members"], g["fallbacks"]) for g in groups}, {("buckets", 1, 0)})
        (port,) = self.world.server.rows("/skua/ports")
        self.assertEqual((port["device"], port["driver"]), ("net_tap0", "net_tap"))
        self.assertGreater(port["rx_packets"], 0)
        names = {row["name"] for row in self.world.server.rows("/skua/interfaces")}
        self.assertEqual(names, {"lo", "skua0"})
        known = {row["address"]: row for row in self.world.server.rows("/skua/neighbours")}
        self.assertEqual(known[world.PEER4]["interface"], "skua0")
        self.assertIn(world.PEER6, known)


if __name__ == "__main__":
    unittest.main()
