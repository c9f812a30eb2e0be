"""The other end of an emulated NIC's cable: Ethernet frames through a socket, and the hosts that live there.

All of 198.18.0.0/24 and 2001:db8::/64 is there but the stack's own addresses, behind one MAC address.
"""
import ctypes
import fcntl
import os
import select
import socket
import struct
import time

STACK_MAC = bytes.fromhex("525400000001")
OUR_MAC = bytes.fromhex("020000000099")
STACK4, STACK6 = "198.18.0.1", "2001:db8::1"

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_UDP, _ICMP, _ICMP6 = 17, 1, 58


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _pseudo(source, destination, protocol, length):
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IHBB", length, 0, 0, protocol)


def ip_frame(source, destination, protocol, body, mac=STACK_MAC):
    """`source` and `destination` packed."""
    if len(source) == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + source + destination
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        kind = _IPV4
    else:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + source + destination
        kind = _IPV6
    return (mac + OUR_MAC + struct.pack("!H", kind) + head + body).ljust(60, b"\0")


def udp_frame(source, source_port, destination, destination_port, payload):
    source, destination = packed(source), packed(destination)
    length = 8 + len(payload)
    body = struct.pack("!HHHH", source_port, destination_port, length, 0) + payload
    total = checksum(_pseudo(source, destination, _UDP, length) + body) or 0xFFFF
    return ip_frame(source, destination, _UDP, body[:6] + struct.pack("!H", total) + payload)


class Wire:
    """The frames that the stack sends, sorted; requests for our hosts' MAC addresses are answered on the way."""

    def __init__(self, endpoint, send, partial=False):
        """`partial`: UDP checksums may be left to a later device, as a TAP allows it."""
        self._socket = endpoint
        self._send = send
        self._partial = partial
        self.udp = []  # (remote address, remote port, local port, payload), remote from the stack's point of view
        self.pongs = []  # (address, sequence)
        self.bad = []  # frames with wrong checksums

    def close(self):
        self._socket.close()

    def send(self, frame):
        self._send(frame)

    def pump(self, seconds=0.0):
        """Takes what is there; waits so long for the first frame. Returns how many came."""
        came = 0
        while select.select([self._socket], [], [], 0 if came else seconds)[0]:
            self._take(self._socket.recv(65536))
            came += 1
        return came

    def until(self, true, what, seconds=60):
        end = time.monotonic() + seconds
        while not (value := true()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {what}")
            self.pump(0.05)
        return value

    def ping(self, sequence, ipv6=False):
        data = bytes(range(40))
        source, destination = (packed("2001:db8::2"), packed(STACK6)) if ipv6 else (
            packed("198.18.0.2"), packed(STACK4))
        body = struct.pack("!BBHHH", 128 if ipv6 else 8, 0, 0, 7, sequence) + data
        front = _pseudo(source, destination, _ICMP6, len(body)) if ipv6 else b""
        body = body[:2] + struct.pack("!H", checksum(front + body)) + body[4:]
        self.send(ip_frame(source, destination, _ICMP6 if ipv6 else _ICMP, body))

    def ask_arp(self):
        self.send(b"\xff" * 6 + OUR_MAC + struct.pack("!HHHBBH", _ARP, 1, _IPV4, 6, 4, 1) + OUR_MAC
                  + packed("198.18.0.2") + bytes(6) + packed(STACK4) + bytes(18))

    def _take(self, frame):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == _ARP:
            self._take_arp(frame)
        elif kind == _IPV4 and len(frame) >= 34:
            length = struct.unpack_from("!H", frame, 16)[0]
            if checksum(frame[14:34]):
                self.bad.append(frame)
            self._take_ip(frame, frame[26:30], frame[30:34], frame[23], frame[34:14 + length])
        elif kind == _IPV6 and len(frame) >= 54:
            length = struct.unpack_from("!H", frame, 18)[0]
            self._take_ip(frame, frame[22:38], frame[38:54], frame[20], frame[54:54 + length])

    def _take_arp(self, frame):
        operation, = struct.unpack_from("!H", frame, 20)
        sender, target = frame[28:32], frame[38:42]
        if operation == 2:
            self.pongs.append(("arp", socket.inet_ntoa(sender)))
        # Probes for addresses of the stack's own are not answered (RFC 5227).
        elif target != packed(STACK4) and sender != bytes(4):
            self.send((frame[6:12] + OUR_MAC + struct.pack("!HHHBBH", _ARP, 1, _IPV4, 6, 4, 2) + OUR_MAC + target
                       + frame[22:28] + sender).ljust(60, b"\0"))

    def _take_ip(self, frame, source, destination, protocol, body):
        if protocol == _UDP:
            whole = _pseudo(source, destination, _UDP, len(body)) + body
            if not self._partial and (body[6:8] == b"\0\0" or checksum(whole)):
                self.bad.append(frame)
            local, remote = struct.unpack_from("!HH", body)
            family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
            self.udp.append((socket.inet_ntop(family, destination), remote, local, body[8:]))
        elif protocol == _ICMP and body[0] == 0:
            self.pongs.append(("icmp", struct.unpack_from("!H", body, 6)[0]))
        elif protocol == _ICMP6 and body[0] == 129:
            self.pongs.append(("icmp6", struct.unpack_from("!H", body, 6)[0]))
        elif protocol == _ICMP6 and body[0] == 135 and source != bytes(16):
            target = body[8:24]
            answer = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + target + b"\x02\x01" + OUR_MAC
            total = checksum(_pseudo(target, source, _ICMP6, len(answer)) + answer)
            answer = answer[:2] + struct.pack("!H", total) + answer[4:]
            self.send(ip_frame(target, source, _ICMP6, answer, frame[6:12]))


def by_datagrams(folder):
    """A cable as QEMU's `-netdev dgram`: the wire and QEMU's words for its end. Needs no root; one queue pair."""
    ours, theirs = folder / "wire.host", folder / "wire.qemu"
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(ours))
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        s.setsockopt(socket.SOL_SOCKET, option, 1 << 22)
    words = ["-netdev", f"dgram,id=n0,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"]
    return Wire(s, lambda frame: s.sendto(frame, str(theirs))), words, []


_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
_TUNSETIFF, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_MULTI_QUEUE, _IFF_VNET_HDR = 2, 0x1000, 0x100, 0x4000
_SIOCSIFFLAGS, _IFF_UP_PROMISC = 0x8914, 0x1 | 0x100
_ETH_P_ALL = 3


def by_tap(queues):
    """A cable with several queues: a TAP in a network namespace that lives as long as its descriptors."""
    ours, childs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _make_tap(childs, queues)
            code = 0
        except OSError as e:
            childs.send(str(e).encode())
        finally:
            os._exit(code)
    childs.close()
    said, fds, _, _ = socket.recv_fds(ours, 4096, queues + 1)
    os.waitpid(child, 0)
    ours.close()
    if len(fds) != queues + 1:
        raise OSError(f"no TAP in a network namespace: {said.decode()}")
    s = socket.socket(fileno=fds[0])
    words = ["-netdev", f"tap,id=n0,vhost=off,fds={':'.join(map(str, fds[1:]))}"]
    return Wire(s, s.send, partial=True), words, fds[1:]


def _make_tap(channel, queues):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0 and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as f:
        f.write("1")
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_MULTI_QUEUE | _IFF_VNET_HDR
    request = struct.pack("16sH22x", b"wire0", flags)
    taps = []
    for _ in range(queues):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        taps.append(fd)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH22x", b"wire0", _IFF_UP_PROMISC))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind(("wire0", 0))
    socket.send_fds(channel, [b"here"], [s.fileno(), *taps])
