"""The echo server over a TAP port, and over AF_PACKET and AF_XDP on veth pairs, with the kernel as its peer."""
import random
import re
import socket
import unittest

import world
from world import (
    DISCARD,
    ECHO,
    PEER4,
    SERVER4,
    SERVER6,
    SERVER_LINK_LOCAL,
    Packet,
    Tap,
    World,
    WorldTest,
    Xdp,
    eventually,
)

FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
CLOSED = 4000

# Around what one frame holds, around each multiple of what a fragment carries, and the ends.
SIZES = {
    "IPv4": [
        0,
        1,
        2,
        3,
        7,
        8,
        63,
        511,
        512,
        1024,
        1471,
        1472,
        1473,
        1479,
        1480,
        1481,
        2047,
        2048,
        2951,
        2952,
        2953,
        4096,
        4432,
        4433,
        8191,
        8192,
        9000,
        16384,
        32767,
        32768,
        65119,
        65120,
        65121,
        65500,
        65506,
        65507,
    ],
    "IPv6": [
        0,
        1,
        2,
        3,
        7,
        8,
        63,
        511,
        512,
        1024,
        1231,
        1232,
        1233,
        1451,
        1452,
        1453,
        2047,
        2048,
        2887,
        2888,
        2889,
        4096,
        4336,
        4337,
        8191,
        8192,
        9000,
        16384,
        32767,
        32768,
        65152,
        65153,
        65500,
        65507,
        65526,
        65527,
    ],
}
PING_SIZES = {"IPv4": [0, 1, 56, 1472, 1473, 8000, 65507], "IPv6": [0, 1, 56, 1452, 1453, 8000, 65507, 65527]}


class Echo:
    """Cases for every kind of link."""

    def sizes(self, family, all_sizes):
        largest = self.world.link.largest4 if family == "IPv4" else self.world.link.largest6
        return [s for s in all_sizes[family] if s <= largest]

    def test_neighbours_find_us(self):
        peer, device = self.world.peer, self.world.link.peer_device
        for address in (SERVER4, SERVER6, SERVER_LINK_LOCAL):
            with self.subTest(address):
                peer.ip("neigh", "flush", "to", address, "dev", device)
                self.assert_ping(address + (f"%{device}" if address == SERVER_LINK_LOCAL else ""))
                shown = peer.ip("neigh", "show", address, "dev", device)
                self.assertIn(f"lladdr {self.world.mac()}", shown)
                self.assertRegex(shown, "REACHABLE|STALE|DELAY|PROBE")

    def test_we_find_neighbours(self):
        # The kernel knows us for good and does not ask, so we have not heard of this address when we must answer it.
        peer, device = self.world.peer, self.world.link.peer_device
        for family, own, theirs, length in (
            (socket.AF_INET, SERVER4, "198.18.0.77", 24),
            (socket.AF_INET6, SERVER6, "2001:db8::77", 64),
        ):
            with self.subTest(theirs):
                peer.add_addresses(device, f"{theirs}/{length}")
                peer.ip("neigh", "replace", own, "lladdr", self.world.mac(), "nud", "permanent", "dev", device)
                self.assertNotIn(theirs, [n["address"] for n in self.world.server.rows("/skua/neighbours")])
                with self.world.udp(family, bind=(theirs, 0)) as s:
                    self.assert_echo(s, b"who are you?")
                known = {n["address"]: n for n in self.world.server.rows("/skua/neighbours")}
                self.assertEqual(known[theirs]["state"], "reachable")
                self.assertIn(known[theirs]["mac"], peer.ip("link", "show", device))
                peer.ip("neigh", "del", own, "dev", device)
                peer.ip("address", "del", f"{theirs}/{length}", "dev", device)

    def test_ping(self):
        for family, to in (("IPv4", SERVER4), ("IPv6", SERVER6)):
            for size in self.sizes(family, PING_SIZES):
                with self.subTest(family, size=size):
                    self.assert_ping(to, size)

    def test_ping_link_local(self):
        for size in (56, 8000):
            self.assert_ping(f"{SERVER_LINK_LOCAL}%{self.world.link.peer_device}", size)

    def test_every_byte_comes_back(self):
        for name, family in FAMILIES.items():
            with self.world.udp(family) as s:
                for size in self.sizes(name, SIZES):
                    with self.subTest(name, size=size):
                        self.assert_echo(s, random.Random(size).randbytes(size))

    def test_echo_link_local(self):
        to = f"{SERVER_LINK_LOCAL}%{self.world.link.peer_device}"
        with self.world.udp(socket.AF_INET6, to=to) as s:
            for size in (1, 1452, 5000):
                self.assert_echo(s, random.Random(size).randbytes(size))

    def test_closed_port_refuses(self):
        for name, family in FAMILIES.items():
            with self.subTest(name), self.world.udp(family, port=CLOSED) as s:
                s.send(b"anybody?")
                with self.assertRaises(ConnectionRefusedError):
                    s.recv(100)

    def test_discard_says_nothing(self):
        def received():
            return self.world.server.mib()["UdpInDatagrams"]

        before = received()
        with self.world.udp(port=DISCARD) as s:
            s.send(b"into the void")
            eventually(lambda: received() == before + 1, "the datagram counted")
            s.settimeout(0.2)
            with self.assertRaises(TimeoutError):
                s.recv(100)

    def test_broadcast(self):
        device = self.world.link.peer_device
        with self.world.peer.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            for to in ("198.18.0.255", "255.255.255.255"):
                with self.subTest(to):
                    s.sendto(b"everybody", (to, ECHO))
                    self.assertEqual(s.recvfrom(100), (b"everybody", (SERVER4, ECHO)))

    def test_broadcast_to_a_closed_port_is_not_refused(self):
        def counted():
            return self.world.server.drops().get("udp_no_port", 0)

        before, refused = counted(), self.world.server.mib()["UdpNoPorts"]
        with self.world.peer.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.sendto(b"everybody", ("198.18.0.255", CLOSED))
        eventually(lambda: counted() == before + 1, "the datagram counted")
        self.assertEqual(self.world.server.mib()["UdpNoPorts"], refused)

    def test_no_answer_to_the_echo_port(self):
        # Two echo servers would never come to an end.
        with self.world.udp(bind=(PEER4, ECHO)) as s:
            s.settimeout(0.3)
            s.send(b"ping-pong?")
            with self.assertRaises(TimeoutError):
                s.recv(100)

    def test_a_hundred_thousand(self):
        total, window = 100_000, 256
        for name, family in FAMILIES.items():
            with self.subTest(name), self.world.udp(family) as s:
                sent = answered = 0
                missing = set()
                while answered < total:
                    while sent < total and len(missing) < window:
                        s.send(sent.to_bytes(4, "big") * 5)
                        missing.add(sent)
                        sent += 1
                    try:
                        answer = s.recv(100)
                    except TimeoutError:
                        self.fail(f"{len(missing)} of {sent} datagrams are lost; drops: {self.world.server.drops()}")
                    number = int.from_bytes(answer[:4], "big")
                    self.assertIn(number, missing)
                    self.assertEqual(answer, number.to_bytes(4, "big") * 5)
                    missing.remove(number)
                    answered += 1

    def test_checksums_as_tcpdump_sees_them(self):
        with self.world.capture() as file:
            for name, family in FAMILIES.items():
                to = SERVER4 if name == "IPv4" else SERVER6
                self.world.peer.ip("neigh", "flush", "to", to, "dev", self.world.link.peer_device)
                for size in self.sizes(name, {"IPv4": [0, 1, 56, 1472, 3001], "IPv6": [0, 1, 56, 1452, 3001]}):
                    self.assert_ping(to, size)
                with self.world.udp(family) as s:
                    for size in self.sizes(
                        name,
                        {
                            "IPv4": [0, 1, 2, 17, 1000, 1472, 1473, 30001],
                            "IPv6": [0, 1, 2, 17, 1000, 1452, 1453, 30001],
                        },
                    ):
                        self.assert_echo(s, random.Random(size).randbytes(size))
                with self.world.udp(family, port=CLOSED) as s:
                    s.send(b"refused")
                    with self.assertRaises(ConnectionRefusedError):
                        s.recv(100)
        seen = self.world.peer.run("tcpdump", "-n", "-vv", "-r", file).stdout
        self.assertEqual(re.findall(r".*(?:bad|wrong|incorrect|invalid|truncated).*", seen), [])
        for good in (
            "udp sum ok",
            "icmp6 sum ok",
            "udp port 4000 unreachable",
            "unreachable port",
            "echo reply",
            "is-at",
        ):
            self.assertIn(good, seen)

    def test_a_link_that_goes_and_comes(self):
        peer, device = self.world.peer, self.world.link.peer_device
        for _ in range(2):
            peer.ip("link", "set", device, "down")
            peer.ip("link", "set", device, "up")
            eventually(lambda: self.world.ping(SERVER4).returncode == 0, "an answer over IPv4")
            eventually(lambda: self.world.ping(SERVER6).returncode == 0, "an answer over IPv6")
            for family in FAMILIES.values():
                with self.world.udp(family) as s:
                    self.assert_echo(s, b"still there?")


class TapEchoTest(Echo, WorldTest):
    @classmethod
    def make_world(cls):
        return World(Tap())


class SegmentsEchoTest(Echo, WorldTest):
    """A frame takes several packet buffers."""

    test_a_hundred_thousand = test_a_link_that_goes_and_comes = None

    @classmethod
    def make_world(cls):
        return World(Tap(), ["--pool-data-room", "512"])

    def test_frames_are_scattered(self):
        self.assertRegex(self.world.server.output, r"RX scattered +hardware")


class PacketEchoTest(Echo, WorldTest):
    @classmethod
    def make_world(cls):
        return World(Packet())

    def test_own_end_goes_and_comes(self):
        self.world.stack.ip("link", "set", "stack0", "down")
        self.world.stack.ip("link", "set", "stack0", "up")
        eventually(lambda: self.world.ping(SERVER4).returncode == 0, "an answer")
        self.assert_ping(SERVER6)


@unittest.skipUnless(world.has_af_xdp(), "the kernel has no AF_XDP")
class XdpEchoTest(Echo, WorldTest):
    @classmethod
    def make_world(cls):
        return World(Xdp())


if __name__ == "__main__":
    unittest.main()
