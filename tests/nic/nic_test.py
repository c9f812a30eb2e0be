"""The stack on real drivers, on devices of virtual machines: a machine for each device, a case for each check.

A new device is a line of DEVICES, a new check a method of Checks named in one.
"""
import collections
import dataclasses
import json
import os
import pathlib
import random
import struct
import tempfile
import time
import unittest

import guest
import wire

QUEUES = 4
WINDOW = 128  # datagrams on their way


@dataclasses.dataclass(frozen=True)
class Device:
    name: str
    checks: tuple
    qemu: str = ""  # the device in QEMU's words; none: the guest has a virtual one by `eal`
    pci: str = ""  # for the kernel's driver that leaves it to DPDK
    driver: str = "uio_pci_generic"
    modules: str = "uio"
    words: tuple = ()  # more for QEMU, before the device
    boot: str = ""  # more for the guest's kernel
    eal: str = ""
    port: str = "0000:00:03.0"
    qemu_version: int = 7
    tap: bool = False  # the cable has several queues


ALL_OF_A_NIC = ("echo_server", "says_what_it_can", "hash_and_queue", "groups_follow_the_table",
                "table_follows_the_groups", "moves_under_traffic")
DEVICES = (
    Device("igb", ALL_OF_A_NIC + ("hash_of_the_device",), qemu="igb,addr=3", pci="8086 10c9", qemu_version=8),
    Device("igb_vfio", ("echo_server",), qemu="igb,addr=3", pci="8086 10c9", qemu_version=8, driver="vfio-pci",
           modules="vfio", words=("-device", "intel-iommu,intremap=on"), boot="intel_iommu=on"),
    Device("virtio", ("echo_server", "hash_and_queue", "groups_follow_the_table", "moves_under_traffic"), tap=True,
           qemu="virtio-net-pci,addr=3,mq=on,vectors=10,rss=on,hash=on,disable-legacy=on", pci="1af4 1041"),
    Device("net_tap", ("rules_for_a_port", "rules_for_a_flow", "budget"), modules="tap", port="net_tap0",
           eal="--no-pci --vdev=net_tap0,iface=dtap0,mac=52:54:00:00:00:01"),
)

_shared = {}


def setUpModule():
    # Where tests/run cleans up even after it had to end us: the image is large.
    folder = tempfile.TemporaryDirectory(prefix="skua-nic-image-", dir=os.getcwd())
    unittest.addModuleCleanup(folder.cleanup)
    _shared["qemu"] = guest.Qemu()
    _shared["image"] = pathlib.Path(folder.name) / "image"
    guest.make_image(_shared["image"], [os.environ["SKUA_ECHO"], os.environ["NIC_GUEST"]])


class Checks(unittest.TestCase):
    """Of one device; the machine is up when a check begins, and no program runs in it."""

    device = None

    @classmethod
    def setUpClass(cls):
        device = cls.device
        if _shared["qemu"].version < device.qemu_version:
            raise unittest.SkipTest(f"needs QEMU {device.qemu_version}, {_shared['qemu'].version} is there")
        folder = tempfile.TemporaryDirectory(prefix="skua-nic-wire-")
        cls.addClassCleanup(folder.cleanup)
        words, fds, cls.wire = ["-nic", "none"], [], None
        if device.qemu:
            try:
                cls.wire, words, fds = wire.by_tap(QUEUES) if device.tap else wire.by_datagrams(
                    pathlib.Path(folder.name))
            except OSError as e:
                raise unittest.SkipTest(str(e)) from e
            cls.addClassCleanup(cls.wire.close)
            words = [*device.words, *words, "-device", f"{device.qemu},netdev=n0,romfile=,mac=52:54:00:00:00:01"]
        begin = time.monotonic()
        cls.machine = guest.Guest(_shared["qemu"], _shared["image"], words, fds, device.boot)
        cls.addClassCleanup(cls.machine.close)
        for fd in fds:
            os.close(fd)
        cls.machine.load(device.modules)
        if device.pci:
            cls.machine.run(f"echo {device.pci} > /sys/bus/pci/drivers/{device.driver}/new_id")
        print(f"{device.name}: up in {time.monotonic() - begin:.1f} s", flush=True)

    def arguments(self, options=""):
        """Of a program of ours in the guest."""
        return (f"{self.device.eal} -- --port {self.device.port},name=p0 --port-dad false --address 198.18.0.1/24 "
                f"--address 2001:db8::1/64 --shards {QUEUES} --pool-packets 4096 --eal-memory 192 {options}")

    def start(self, options=""):
        """nic-guest; what it said of the port."""
        said = self.machine.start(self.arguments(options))
        self.addCleanup(self.machine.quit)
        if self.wire:
            self.reach()
        return said

    def reach(self):
        """The link is up, and both know each other's MAC address."""
        self.wire.pongs.clear()

        def answered():
            for kind in ("icmp", "icmp6"):
                if (kind, 1) not in self.wire.pongs:
                    self.wire.ping(1, kind == "icmp6")
            self.wire.pump(0.1)
            return {("icmp", 1), ("icmp6", 1)} <= set(self.wire.pongs)

        self.wire.until(answered, "answers to ping")

    def report(self):
        return json.loads(self.machine.order("report"))

    def flows(self, local_port, count, ipv6=False):
        """(remote address, remote port, local port)"""
        address = "2001:db8::{:x}" if ipv6 else "198.18.0.{}"
        return [(address.format(2 + i % 200), 20000 + i, local_port) for i in range(count)]

    def echo(self, flows, payload_of, count):
        """Sends `count` datagrams over the flows, in turn, some at a time, until each has come back."""
        self.wire.udp.clear()
        awaited = collections.Counter()
        sent = 0

        def send(i):
            remote, remote_port, local_port = flows[i % len(flows)]
            to = wire.STACK6 if ":" in remote else wire.STACK4
            payload = payload_of(i)
            self.wire.send(wire.udp_frame(remote, remote_port, to, local_port, payload))
            awaited[remote, remote_port, local_port, payload] += 1

        while sent < count:
            if sent - len(self.wire.udp) < WINDOW:
                send(sent)
                sent += 1
                if sent % 16 == 0:
                    self.wire.pump()
            else:
                before = len(self.wire.udp)
                self.wire.until(lambda: len(self.wire.udp) > before, f"an echo after {before} of {sent}")
        self.wire.until(lambda: len(self.wire.udp) >= count, f"{count} echoes")
        self.assertEqual(collections.Counter(self.wire.udp), awaited)
        self.assertEqual(len(self.wire.bad), 0, self.wire.bad[:1])

    def meet(self, flows):
        """Those who do not know a MAC address yet hand what they send to the shard that asks for it."""
        self.echo(flows, lambda _: b"", len(flows))
        self.machine.order("forget")

    # ---- checks ----

    def echo_server(self):
        """skua-echo as it is, with a thread for each shard."""
        self.machine.run(f"skua-echo {self.arguments('--idle yield')} </dev/null > /tmp/echo 2>&1 & echo $! > /tmp/pid")
        self.addCleanup(self.machine.run, "kill -KILL $(cat /tmp/pid) 2>/dev/null; wait $(cat /tmp/pid)", check=False)
        self.machine.run("until grep -q '^ready' /tmp/echo || ! kill -0 $(cat /tmp/pid); do sleep 0.1; done")
        self.machine.run("grep -q '^ready' /tmp/echo || { cat /tmp/echo; false; }")
        self.reach()
        self.wire.ask_arp()
        self.wire.until(lambda: ("arp", wire.STACK4) in self.wire.pongs, "an answer to ARP")
        flows = self.flows(7, 48) + self.flows(7, 48, ipv6=True)
        sizes = (0, 1, 17, 18, 19, 64, 511, 1024, 1400, 1452)
        dice = random.Random(1)
        noise = dice.randbytes(2000)
        self.echo(flows, lambda i: noise[i % 400:][:sizes[i % len(sizes)]], 3000)
        said = self.machine.run("kill -INT $(cat /tmp/pid); wait $(cat /tmp/pid); cat /tmp/echo")
        rows = [line.split() for line in said.splitlines() if line.startswith("echo ")]
        self.assertEqual(sum(int(row[3]) for row in rows), 3000, said)
        self.assertEqual({row[2] for row in rows if int(row[3])}, {str(i) for i in range(QUEUES)}, said)

    def says_what_it_can(self):
        said = self.start()
        for line in (r"queues +4 / 4 ", r"RSS over IPv4 UDP ports +hardware", r"RSS over IPv6 UDP ports +hardware",
                     r"Five-tuple hash, IPv4 +hardware", r"Five-tuple hash, IPv6 +hardware", r"RETA +hardware +128"):
            self.assertRegex(said, line)

    def arrivals(self, flows):
        """What the device did with a datagram of each."""
        for remote, remote_port, local_port in flows:
            to = wire.STACK6 if ":" in remote else wire.STACK4
            self.wire.send(wire.udp_frame(remote, remote_port, to, local_port, struct.pack("!I", 1)))
        came = self.wire.until(
            lambda: (lambda all: all if len(all) >= len(flows) else None)(self.report()["flows"]), "all flows")
        self.assertEqual(len(came), len(flows))
        return came

    def hash_and_queue(self):
        """Each flow comes in on the queue that our hash and the table say."""
        self.start()
        self.machine.order("open one 0.0.0.0 9000")
        self.machine.order("open two :: 9000")
        for f in self.arrivals(self.flows(9000, 64) + self.flows(9000, 64, ipv6=True)):
            self.assertEqual(f["queue"], f["expected_queue"], f)
        self.assertEqual(set(f["queue"] for f in self.report()["flows"]), set(range(QUEUES)))

    def hash_of_the_device(self):
        """The hash that the NIC computes is ours, bit for bit."""
        self.start()
        self.machine.order("open one 0.0.0.0 9000")
        self.machine.order("open two :: 9000")
        came = self.arrivals(self.flows(9000, 64) + self.flows(9000, 64, ipv6=True))
        self.assertEqual([f["hash"] for f in came], [f["ours"] for f in came])
        self.assertGreater(len({f["hash"] for f in came}), 120)

    def open_group(self, homes):
        for i, home in enumerate(homes):
            self.machine.order(f"open m{i} 0.0.0.0 9000 reuseport" + ("" if home is None else f" home={home}"))

    def check_that_nothing_crosses(self, flows):
        self.meet(flows)
        crossed = self.report()["crossed"]
        self.echo(flows, lambda i: struct.pack("!I", i // len(flows) + 1), len(flows) * 2)
        now = self.report()
        self.assertEqual(now["crossed"], crossed)
        self.assertEqual(now["disorder"], 0)
        for name, member in now["sockets"].items():
            self.assertGreater(member["received"], 0, name)
            self.assertEqual(set(member["by_queue"]), {str(member["home"])}, name)
        return now

    def groups_follow_the_table(self):
        """A member gets what came in on its own queue and nothing else."""
        self.start()
        self.open_group([None] * 8)
        self.assertEqual(self.report()["not_aligned"], "")
        now = self.check_that_nothing_crosses(self.flows(9000, 160))
        self.assertEqual(collections.Counter(m["home"] for m in now["sockets"].values()), dict.fromkeys(range(4), 2))

    def table_follows_the_groups(self):
        """Uneven members: the NIC's table is changed to their shares."""
        self.start("--steering reta_follows_group")
        self.open_group([0, 0, 0, 0, 0, 1, 2, 3])
        self.machine.order("follow")
        shares = collections.Counter(self.report()["reta"])
        self.assertEqual(sum(shares.values()), 128)
        for queue, share in {0: 80, 1: 16, 2: 16, 3: 16}.items():
            self.assertAlmostEqual(shares[queue], share, delta=1)
        self.check_that_nothing_crosses(self.flows(9000, 160))

    def moves_under_traffic(self):
        """Shards go and come; the table really moves, nothing is lost, nothing overtakes another of its flow."""
        self.start()
        self.open_group([None] * 6)
        self.machine.order("open alone 0.0.0.0 9001")
        flows = self.flows(9000, 40) + self.flows(9001, 8)
        sent = collections.Counter()
        self.meet(flows)
        self.wire.udp.clear()
        dropped = self.report()["drops"]
        for weights in ("1,1,0,0", "1,0,0,0", "1,1,1,1", "0,1,1,0", "1,2,1,0", "1,1,1,1"):
            before = sent.total()
            self.machine.begin(f"move {weights}")
            over = False
            while not over or sent.total() < before + 300:
                over = over or self.machine.answered() is not None
                if sent.total() - len(self.wire.udp) < WINDOW:
                    flow = flows[sent.total() % len(flows)]
                    sent[flow] += 1
                    number = struct.pack("!I", sent[flow])
                    self.wire.send(wire.udp_frame(flow[0], flow[1], wire.STACK4, flow[2], number))
                self.wire.pump()
            self.wire.until(lambda: len(self.wire.udp) >= sent.total(), "all echoes")
            now = self.report()
            self.assertEqual(set(now["reta"]), {i for i, w in enumerate(weights.split(",")) if w != "0"})
            self.assertEqual((now["disorder"], now["drops"], now["missed"]), (0, dropped, 0), weights)
            for member in now["sockets"].values():
                self.assertIn(member["home"], now["reta"])
        self.assertEqual(now["received"], {f"{f[2]} {f[1]}": n for f, n in sent.items()})
        self.assertTrue(any(f["moved"] for f in now["flows"]), "no flow came by another queue")

    # ---- rules: the guest's kernel is at the other end ----

    def start_with_kernel(self, options=""):
        said = self.start(options)
        self.machine.order("shell ip address add 198.18.0.2/24 dev dtap0")
        self.machine.order("shell ip link set dtap0 up")
        self.assertRegex(said, r"Connected flow to queue +hardware")
        self.assertRegex(said, r"UDP port to queue +hardware")
        # The first to send asks for the peer's MAC address, on another shard.
        self.machine.order("open first 198.18.0.1 4999")
        self.machine.order("send 198.18.0.2 198.18.0.1 4999 1 1")
        self.machine.order("close first")
        self.machine.order("forget")
        self.crossed_before = self.report()["crossed"]
        self.filters_before = self.filters()

    def filters(self):
        """Of tc, which net_tap makes of rules."""
        return self.machine.order("shell /bin/tc filter show dev dtap0 parent 1:").count("dst_port")

    def rules_for_a_port(self):
        """All that comes to the port of a socket alone comes to its queue; a second socket ends it."""
        self.start_with_kernel()
        self.machine.order("open one 198.18.0.1 5000 home=2")
        self.assertEqual(self.report()["rules"], 1)
        self.assertEqual(self.filters(), self.filters_before + 1)
        self.machine.order("send 198.18.0.2 198.18.0.1 5000 64 2")
        now = self.report()
        self.assertEqual((now["sockets"]["one"]["received"], now["crossed"]), (128, self.crossed_before))
        self.assertEqual({f["queue"] for f in now["flows"]}, {2})
        self.assertIn("rte_flow: all that comes to port 5000, to queue 2",
                      self.machine.order("explain 198.18.0.1:5000,198.18.0.2:20000"))
        self.machine.order("close one")
        self.assertEqual((self.report()["rules"], self.filters()), (0, self.filters_before))

        self.machine.order("forget")
        self.machine.order("open a 198.18.0.1 5000 reuseport")
        self.assertEqual(self.report()["rules"], 1)
        self.machine.order("open b 198.18.0.1 5000 reuseport")
        self.assertEqual((self.report()["rules"], self.filters()), (0, self.filters_before))
        self.machine.order("send 198.18.0.2 198.18.0.1 5000 64 2")
        now = self.report()
        self.assertEqual(sum(s["received"] for s in now["sockets"].values()), 128)
        self.assertGreater(len({f["queue"] for f in now["flows"]}), 1)

    def rules_for_a_flow(self):
        """A connected socket's flow comes to its queue, its neighbours do not."""
        self.start_with_kernel()
        for i in range(4):
            self.machine.order(f"open c{i} 198.18.0.1 6000 reuseport home={3 - i} connect=198.18.0.2:{20000 + i}")
        self.assertEqual(self.report()["rules"], 4)
        self.assertEqual(self.filters(), self.filters_before + 4)
        self.machine.order("send 198.18.0.2 198.18.0.1 6000 4 5")
        now = self.report()
        self.assertEqual({f["remote_port"]: f["queue"] for f in now["flows"]}, {20000 + i: 3 - i for i in range(4)})
        self.assertEqual([now["sockets"][f"c{i}"]["received"] for i in range(4)], [5] * 4)
        self.assertEqual((now["crossed"], now["disorder"]), (self.crossed_before, 0))
        self.assertIn("rte_flow: 1 of the flow's own, to queue 3",
                      self.machine.order("explain 198.18.0.1:6000,198.18.0.2:20000"))
        for i in range(4):
            self.machine.order(f"close c{i}")
            self.assertEqual((self.report()["rules"], self.filters()), (3 - i, self.filters_before + 3 - i))

    def budget(self):
        """So many rules and no more; what is over is done in software."""
        self.start_with_kernel("--port-flow-rules 3")
        for i in range(4):
            self.machine.order(f"open p{i} 198.18.0.1 {7000 + i} home=1")
        now = self.report()
        self.assertEqual((now["rules"], now["rules_refused"], self.filters()), (3, 1, self.filters_before + 3))
        for i in range(4):
            self.machine.order(f"send 198.18.0.2 198.18.0.1 {7000 + i} 32 1")
        now = self.report()
        self.assertEqual([now["sockets"][f"p{i}"]["received"] for i in range(4)], [32] * 4)
        queues = collections.defaultdict(set)
        for f in now["flows"]:
            queues[f["local_port"]].add(f["queue"])
        self.assertEqual([queues[7000 + i] for i in range(3)], [{1}] * 3)
        self.assertGreater(len(queues[7003]), 1)
        self.assertGreater(now["crossed"], self.crossed_before)
        self.assertIn("no rte_flow rule for port 7003", self.machine.order("explain 198.18.0.1:7003,198.18.0.2:1"))
        for i in range(4):
            self.machine.order(f"close p{i}")
        self.assertEqual((self.report()["rules"], self.filters()), (0, self.filters_before))


def load_tests(loader, _standard, _pattern):
    """A class for each device, a case for each of its checks."""
    suite = unittest.TestSuite()
    for device in DEVICES:
        cases = {f"test_{check}": (lambda name: lambda self: getattr(self, name)())(check) for check in device.checks}
        made = type(device.name, (Checks,), {"device": device, **cases})
        suite.addTest(loader.loadTestsFromTestCase(made))
    return suite


if __name__ == "__main__":
    unittest.main()
