"""802.1Q: tagged frames made by hand, which needs no VLAN devices in the kernel."""
import ipaddress
import random
import socket
import struct
import unittest

import world
from world import SERVER4, SERVER6, Packet, Tap, World, WorldTest

SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10
IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
TAG = 100
OURS = {4: "198.18.100.1", 6: "2001:db8:100::1"}
THEIRS = {4: "198.18.100.2", 6: "2001:db8:100::2"}
MAC = bytes.fromhex("020000000099")


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def pseudo_header(source, destination, protocol, length):
    return (
        source
        + destination
        + (struct.pack("!BBH", 0, protocol, length) if len(source) == 4 else struct.pack("!II", length, protocol))
    )


def with_checksum(source, destination, protocol, segment, at):
    """The segment with its checksum at this place, which holds zeros."""
    value = checksum(pseudo_header(source, destination, protocol, len(segment)) + segment)
    return segment[:at] + struct.pack("!H", value or 0xFFFF) + segment[at + 2 :]


def ipv4(payload, protocol, offset=0, more=False, number=1):
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        number,
        offset // 8 | (0x2000 if more else 0),
        64,
        protocol,
        0,
        packed(THEIRS[4]),
        packed(OURS[4]),
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(payload, protocol, destination):
    return (
        struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + packed(THEIRS[6]) + packed(destination) + payload
    )


def udp(version, payload, source_port=5555):
    segment = struct.pack("!HHHH", source_port, world.ECHO, 8 + len(payload), 0) + payload
    return with_checksum(packed(THEIRS[version]), packed(OURS[version]), 17, segment, 6)


class TaggedWire:
    """Sends and receives tagged frames on the peer's device."""

    def __init__(self, made):
        self.mac = bytes.fromhex(made.mac().replace(":", ""))
        self.socket = made.peer.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((made.link.peer_device, 3))  # ETH_P_ALL
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)

    def send(self, type, payload, destination=None, tag=TAG, priority=0):
        self.socket.send(
            (destination or self.mac) + MAC + struct.pack("!HHH", VLAN, priority << 13 | tag, type) + payload
        )

    def receive(self, type):
        """The payload of the next frame from the stack with our tag and of this type. The kernel takes tags out of frames."""
        while True:
            frame, extra, _, sender = self.socket.recvmsg(65536, 256)
            if sender[2] == socket.PACKET_OUTGOING or frame[6:12] != self.mac or frame[:6] != MAC:
                continue
            tag = None
            for level, kind, data in extra:
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data)
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and status & TP_STATUS_VLAN_VALID:
                    tag = tci & 0xFFF
            if tag == TAG and struct.unpack("!H", frame[12:14])[0] == type:
                return frame[14:]

    def close(self):
        self.socket.close()


class Vlan:
    @classmethod
    def make_world(cls):
        link = cls.link()
        return World(link, config=world.VLAN_CONFIG.format(port=link.port))

    def setUp(self):
        self.wire = TaggedWire(self.world)
        self.addCleanup(self.wire.close)

    def introduce4(self):
        self.wire.send(
            ARP,
            struct.pack("!HHBBH6s4s6s4s", 1, IPV4, 6, 4, 1, MAC, packed(THEIRS[4]), bytes(6), packed(OURS[4])),
            b"\xff" * 6,
        )
        return self.wire.receive(ARP)

    def introduce6(self):
        group = ipaddress.ip_address("ff02::1:ff00:1").packed
        message = struct.pack("!BBHI", 135, 0, 0, 0) + packed(OURS[6]) + b"\x01\x01" + MAC
        message = with_checksum(packed(THEIRS[6]), group, 58, message, 2)
        self.wire.send(IPV6, ipv6(message, 58, ipaddress.ip_address(group)), b"\x33\x33" + group[12:])
        return self.wire.receive(IPV6)

    def assert_sum(self, source, destination, protocol, segment):
        self.assertEqual(checksum(pseudo_header(source, destination, protocol, len(segment)) + segment), 0)

    def test_arp(self):
        reply = self.introduce4()
        self.assertEqual(reply[6:8], b"\x00\x02")
        self.assertEqual(reply[8:18], self.wire.mac + packed(OURS[4]))

    def test_neighbour_discovery(self):
        reply = self.introduce6()
        self.assertEqual(reply[8:40], packed(OURS[6]) + packed(THEIRS[6]))
        self.assertEqual((reply[6], reply[40]), (58, 136))
        self.assert_sum(reply[8:24], reply[24:40], 58, reply[40:])

    def test_udp(self):
        self.introduce4()
        self.introduce6()
        for size in (0, 1, 500, 1452, 1472):
            payload = random.Random(size).randbytes(size)
            self.wire.send(IPV4, ipv4(udp(4, payload), 17))
            packet = self.wire.receive(IPV4)[: 28 + size]
            self.assertEqual(checksum(packet[:20]), 0)
            self.assertEqual(packet[12:20], packed(OURS[4]) + packed(THEIRS[4]))
            self.assert_sum(packet[12:16], packet[16:20], 17, packet[20:])
            self.assertEqual(packet[28:], payload)
            if size > 1452:
                continue
            self.wire.send(IPV6, ipv6(udp(6, payload), 17, OURS[6]))
            packet = self.wire.receive(IPV6)[: 48 + size]
            self.assert_sum(packet[8:24], packet[24:40], 17, packet[40:])
            self.assertEqual(packet[48:], payload)

    def test_ping(self):
        self.introduce4()
        request = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"abc"
        self.wire.send(IPV4, ipv4(request[:2] + struct.pack("!H", checksum(request)) + request[4:], 1), priority=5)
        reply = self.wire.receive(IPV4)[20:31]
        self.assertEqual((reply[0], checksum(reply), reply[8:]), (0, 0, b"abc"))

    def test_fragments(self):
        if self.world.link.largest4 < 3000:
            self.skipTest("this driver has the kernel put IPv4 datagrams together")
        self.introduce4()
        payload = random.Random(1).randbytes(3000)
        segment = udp(4, payload)
        for at in (1480, 2960, 0):
            self.wire.send(IPV4, ipv4(segment[at : at + 1480], 17, at, at + 1480 < len(segment)))
        whole = bytearray(len(segment))
        left = len(segment)
        while left:
            packet = self.wire.receive(IPV4)
            packet = packet[: struct.unpack("!H", packet[2:4])[0]]
            self.assertLessEqual(len(packet), 1500)
            at = (struct.unpack("!H", packet[6:8])[0] & 0x1FFF) * 8
            whole[at : at + len(packet) - 20] = packet[20:]
            left -= len(packet) - 20
        self.assertEqual(bytes(whole[8:]), payload)
        self.assert_sum(packed(OURS[4]), packed(THEIRS[4]), 17, bytes(whole))

    def test_unknown_tag_is_counted(self):
        before = self.world.server.drops().get("vlan_unknown", 0)
        self.wire.send(IPV4, ipv4(udp(4, b"?"), 17), tag=101)
        world.eventually(lambda: self.world.server.drops().get("vlan_unknown", 0) == before + 1, "a frame counted")

    def test_untagged_beside_it(self):
        for family, to in ((socket.AF_INET, SERVER4), (socket.AF_INET6, SERVER6)):
            with self.world.udp(family, to=to) as s:
                self.assert_echo(s, b"plain")

    def test_interfaces(self):
        self.assertIn("198.18.100.1/24 on skua0.100\n", self.world.server.output)
        self.assertIn("198.18.0.1/24 on skua0\n", self.world.server.output)


class TapVlanTest(Vlan, WorldTest):
    link = Tap


class PacketVlanTest(Vlan, WorldTest):
    link = Packet


if __name__ == "__main__":
    unittest.main()
