"""Beyond one subnet: VLANs, routers, path MTU, large frames, several shards."""
import contextlib
import random
import socket
import unittest

import world
from world import ADDRESSES, SERVER4, SERVER6, PEER4, PEER6, Packet, Tap, World, WorldTest, eventually

FAMILIES = ((socket.AF_INET, SERVER4), (socket.AF_INET6, SERVER6))


class Vlan:
    """The same port has an untagged interface and a tagged one; on the kernel's side likewise."""

    @classmethod
    def make_world(cls):
        link = cls.link()
        made = World(link, config=world.VLAN_CONFIG.format(port=link.port))
        with contextlib.ExitStack() as undo:
            undo.callback(made.close)
            if (
                "Unknown device type"
                in made.peer.run(
                    "ip", "link", "add", "link", "lo", "name", "probe", "type", "vlan", "id", "1", check=False
                ).stderr
            ):
                raise unittest.SkipTest(
                    "the kernel has no VLAN devices (8021q); tagged frames are tested by vlan_test.py alone"
                )
            made.peer.ip("link", "add", "link", link.peer_device, "name", "tagged", "type", "vlan", "id", "100")
            made.peer.add_addresses("tagged", "198.18.100.2/24", "2001:db8:100::2/64")
            made.peer.ip("link", "set", "tagged", "up")
            undo.pop_all()
        return made

    def test_interfaces(self):
        self.assertIn("198.18.100.1/24 on skua0.100\n", self.world.server.output)
        self.assertIn("198.18.0.1/24 on skua0\n", self.world.server.output)

    def test_tagged(self):
        for family, to in ((socket.AF_INET, "198.18.100.1"), (socket.AF_INET6, "2001:db8:100::1")):
            for size in (0, 1452, 1472):
                self.assert_ping(to, size)
            with self.world.udp(family, to=to) as s:
                for size in (0, 1, 1452, 1472):
                    self.assert_echo(s, random.Random(size).randbytes(size))

    def test_tagged_fragments(self):
        largest = {socket.AF_INET: self.world.link.largest4, socket.AF_INET6: self.world.link.largest6}
        for family, to in ((socket.AF_INET, "198.18.100.1"), (socket.AF_INET6, "2001:db8:100::1")):
            with self.world.udp(family, to=to) as s:
                for size in (1473, 9000, 65507):
                    if size <= largest[family]:
                        self.assert_echo(s, random.Random(size).randbytes(size))

    def test_answers_are_tagged(self):
        with self.world.capture("and vlan 100") as file, self.world.udp(to="198.18.100.1") as s:
            self.assert_echo(s, b"tagged")
        shown = self.world.peer.run("tcpdump", "-n", "-e", "-r", file).stdout
        self.assertIn("vlan 100", shown)
        self.assertIn("198.18.100.1.7 > 198.18.100.2", shown)

    def test_untagged_beside_it(self):
        for family, to in FAMILIES:
            with self.world.udp(family, to=to) as s:
                self.assert_echo(s, b"plain")

    def test_unknown_tag_is_counted(self):
        peer, device = self.world.peer, self.world.link.peer_device
        before = self.world.server.drops().get("vlan_unknown", 0)
        peer.ip("link", "add", "link", device, "name", "stray", "type", "vlan", "id", "101")
        peer.add_addresses("stray", "198.18.101.2/24")
        peer.ip("link", "set", "stray", "up")
        self.assertNotEqual(self.world.ping("198.18.101.1", 56, 1, "-w", "1").returncode, 0)
        self.assertGreater(self.world.server.drops()["vlan_unknown"], before)


class TapVlanTest(Vlan, WorldTest):
    link = Tap


class PacketVlanTest(Vlan, WorldTest):
    link = Packet


class Routed:
    """The peer is a router; a client is in a namespace behind it, over a link with a smaller MTU."""

    CLIENT4, CLIENT6 = "198.19.0.2", "2001:db8:19::2"

    @classmethod
    def make_world(cls):
        made = World(cls.link(), ["--route", f"0.0.0.0/0,via={PEER4}", "--route", f"::/0,via={PEER6}"])
        with contextlib.ExitStack() as undo:
            undo.callback(made.close)
            cls.client = made._namespace()
            made.peer.sysctl(**{"net.ipv4.conf.all.forwarding": 1, "net.ipv6.conf.all.forwarding": 1})
            made.peer.ip(
                "link",
                "add",
                "inner",
                "mtu",
                "1400",
                "type",
                "veth",
                "peer",
                "name",
                "outer",
                "mtu",
                "1400",
                "netns",
                cls.client.name,
            )
            for where, device in ((made.peer, "inner"), (cls.client, "outer")):
                where.run("ethtool", "-K", device, "tx-checksumming", "off")
                host = 1 if device == "inner" else 2
                where.add_addresses(device, f"198.19.0.{host}/24", f"2001:db8:19::{host}/64")
                where.ip("link", "set", device, "up")
            cls.client.ip("route", "add", "default", "via", "198.19.0.1")
            cls.client.ip("-6", "route", "add", "default", "via", "2001:db8:19::1")
            undo.pop_all()
        return made

    def connected(self, family, to, port=world.ECHO):
        s = self.client.socket(family)
        s.connect((to, port))
        return s

    def test_client_behind_a_router(self):
        for family, to in FAMILIES:
            eventually(
                lambda: self.client.run("ping", "-c", "1", "-W", "5", to, check=False).returncode == 0,
                f"an answer of {to}",
            )
            with self.connected(family, to) as s:
                for size in (0, 1, 1000):
                    self.assert_echo(s, random.Random(size).randbytes(size))

    def test_refused_behind_a_router(self):
        for family, to in FAMILIES:
            with self.connected(family, to, 4000) as s:
                s.send(b"anybody?")
                with self.assertRaises(ConnectionRefusedError):
                    s.recv(100)

    def test_path_mtu_is_learnt(self):
        # Our answer fits our link, not the router's other one: the router says so, and the next goes in fragments.
        for family, to in FAMILIES:
            with self.subTest(to), self.connected(family, to) as s:
                payload = random.Random(1440).randbytes(1440)
                s.settimeout(1)
                for attempt in range(20):
                    s.send(payload)
                    with contextlib.suppress(TimeoutError):
                        self.assertEqual(s.recv(65536), payload)
                        break
                else:
                    self.fail("the path MTU was not learnt")
                self.assertEqual(attempt > 0, True, "nothing was too big")

    def test_unreachable_network_is_no_trouble(self):
        # Answers to a client that is gone meet the router's ICMP errors; others must not notice.
        self.client.ip("address", "add", "198.19.0.9/24", "dev", "outer")
        with self.client.socket() as s:
            s.bind(("198.19.0.9", 0))
            s.sendto(b"and away", (SERVER4, 7))
        self.client.ip("address", "del", "198.19.0.9/24", "dev", "outer")
        with self.connected(socket.AF_INET, SERVER4) as s:
            self.assert_echo(s, b"still here")


class TapRoutedTest(Routed, WorldTest):
    link = Tap


class PacketRoutedTest(Routed, WorldTest):
    link = Packet


class PacketLargeTest(WorldTest):
    """Frames of the ring and packet buffers that hold what the kernel has put together for the driver."""

    @classmethod
    def make_world(cls):
        return World(
            Packet(frame=61440, frames=512),
            [
                "--port",
                "net_af_packet0,name=skua0",
                *(w for a in ADDRESSES for w in ("--address", a)),
                "--pool-data-room",
                "65535",
                "--pool-packets",
                "1200",
                "--pool-cache",
                "32",
                "--port-rx-descriptors",
                "512",
                "--port-tx-descriptors",
                "512",
            ],
            config="",
        )

    def test_large_ipv4(self):
        for size in (1473, 8000, 61332):
            self.assert_ping(SERVER4, size)
        with self.world.udp() as s:
            for size in (1471, 1472, 1473, 2953, 9000, 32768, 61331, 61332):
                with self.subTest(size=size):
                    self.assert_echo(s, random.Random(size).randbytes(size))


class TwoShards:
    """Two shards, each with a queue: wherever a datagram comes in, it is answered."""

    @classmethod
    def make_world(cls):
        return World(cls.link(), queues=2)

    def test_every_flow(self):
        for family, to in FAMILIES:
            with contextlib.ExitStack() as flows:
                sockets = [flows.enter_context(self.world.udp(family, to=to)) for _ in range(64)]
                for turn in range(3):
                    for i, s in enumerate(sockets):
                        s.send(bytes([turn, i]) * 20)
                    for i, s in enumerate(sockets):
                        self.assertEqual(s.recv(100), bytes([turn, i]) * 20)
        busy = [row["rx_packets"] for row in self.world.server.rows("/skua/shards")]
        self.assertEqual(len(busy), 2)
        self.assertGreater(min(busy), 0, "only one shard had packets")

    def test_fragments(self):
        for family, to in FAMILIES:
            largest = self.world.link.largest4 if family == socket.AF_INET else self.world.link.largest6
            for turn in range(8):
                with self.world.udp(family, to=to) as s:
                    for size in (1473, 5000, 65507):
                        if size <= largest:
                            self.assert_echo(s, random.Random(size + turn).randbytes(size))

    def test_pings(self):
        for _, to in FAMILIES:
            for _ in range(8):
                self.assert_ping(to)

    def test_closed_port(self):
        for family, to in FAMILIES:
            for _ in range(8):
                with self.world.udp(family, to=to, port=4000) as s:
                    s.send(b"anybody?")
                    with self.assertRaises(ConnectionRefusedError):
                        s.recv(100)

    def test_we_find_neighbours_from_either_shard(self):
        # Only the first shard asks for neighbours; the other hands it what it cannot send yet.
        peer, device = self.world.peer, self.world.link.peer_device
        peer.ip("neigh", "replace", SERVER4, "lladdr", self.world.mac(), "nud", "permanent", "dev", device)
        for host in range(100, 116):
            peer.add_addresses(device, f"198.18.0.{host}/24")
            with self.world.udp(bind=(f"198.18.0.{host}", 0)) as s:
                self.assert_echo(s, b"who are you?")


class TapTwoShardsTest(TwoShards, WorldTest):
    link = Tap


class PacketTwoShardsTest(TwoShards, WorldTest):
    link = Packet


if __name__ == "__main__":
    unittest.main()
