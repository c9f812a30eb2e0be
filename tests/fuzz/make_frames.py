#!/usr/bin/python3
"""Writes the seeds of the frame fuzzer into corpus/frames/: sound and broken packets of every protocol of the stack.

A file is a row of frames, each behind its length in 16 bits, big-endian (rows.hh), so that a seed can hold what belongs
together: all fragments of a datagram, a question and its answer. They are for the host of the fuzz target:
02:00:00:00:00:01, 198.18.0.1/24, 2001:db8::1/64, fe80::1/64, UDP port 7 open. Other files in corpus/frames/ stay: they
are finds.
"""
import pathlib
import struct

from scapy.all import (
    ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6MLQuery,
    ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPOption_NOP, IPOption_RR, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Jumbo, PadN, Raw, RouterAlert,
    checksum, fragment, fragment6)

MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
US, PEER = "198.18.0.1", "198.18.0.2"
US6, PEER6, LINK6, PEER_LINK6 = "2001:db8::1", "2001:db8::2", "fe80::1", "fe80::2"
SOLICITED6, SOLICITED_MAC = "ff02::1:ff00:1", "33:33:ff:00:00:01"

eth = Ether(src=PEER_MAC, dst=MAC)
broadcast = Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff")
ip = IP(src=PEER, dst=US, id=1)
ip6 = IPv6(src=PEER6, dst=US6)
udp = UDP(sport=40000, dport=7)
closed = UDP(sport=40000, dport=9)
# What we are supposed to have sent, as ICMP errors quote it.
quoted = IP(src=US, dst=PEER, id=2) / UDP(sport=7, dport=40000) / b"quoted payload"
quoted6 = IPv6(src=US6, dst=PEER6) / UDP(sport=7, dport=40000) / b"quoted payload"
ns = IPv6(src=PEER6, dst=SOLICITED6, hlim=255) / ICMPv6ND_NS(tgt=US6) / ICMPv6NDOptSrcLLAddr(lladdr=PEER_MAC)
na = IPv6(src=PEER6, dst=US6, hlim=255) / ICMPv6ND_NA(tgt=PEER6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)


def with_options(options):
    """A sound frame but for these IPv4 options: scapy refuses to build broken ones."""
    head = bytearray(bytes(IP(src=PEER, dst=US, id=1, options=[IPOption_NOP()] * len(options)) / udp / b"options"))
    end = 20 + len(options)
    head[20:end] = options
    head[10:12] = b"\0\0"
    head[10:12] = struct.pack(">H", checksum(bytes(head[:end])))
    return bytes(Ether(src=PEER_MAC, dst=MAC, type=0x0800) / Raw(bytes(head)))


def seeds():
    """name -> frames, each a scapy packet or bytes."""
    yield "arp-request", broadcast / ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=US)
    yield "arp-reply", eth / ARP(op=2, hwsrc=PEER_MAC, psrc=PEER, hwdst=MAC, pdst=US)
    yield "arp-gratuitous", broadcast / ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=PEER)
    yield "arp-conflict", eth / ARP(op=2, hwsrc=PEER_MAC, psrc=US, hwdst=MAC, pdst=US)
    yield "arp-other-hardware", eth / ARP(hwtype=6, op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=US)
    yield "arp-short", bytes(eth / ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=US))[:30]

    yield "udp4-echo", eth / ip / udp / b"hello"
    yield "udp4-empty", eth / ip / udp
    yield "udp4-1472", eth / ip / udp / (b"x" * 1472)
    yield "udp4-closed-port", eth / ip / closed / b"hello"
    yield "udp4-no-checksum", eth / ip / UDP(sport=40000, dport=7, chksum=0) / b"hello"
    yield "udp4-bad-checksum", eth / ip / UDP(sport=40000, dport=7, chksum=0x1234) / b"hello"
    yield "udp4-length-7", eth / ip / UDP(sport=40000, dport=7, len=7) / b"hello"
    yield "udp4-length-beyond", eth / ip / UDP(sport=40000, dport=7, len=900) / b"hello"
    yield "udp4-length-below-payload", eth / ip / UDP(sport=40000, dport=7, len=10) / b"hello"
    yield "udp4-padded", bytes(eth / ip / udp / b"x") + bytes(17)
    yield "udp4-port-zero", eth / ip / UDP(sport=0, dport=7) / b"hello"
    yield "udp4-broadcast", broadcast / IP(src=PEER, dst="255.255.255.255") / udp / b"all"
    yield "udp4-multicast", Ether(src=PEER_MAC, dst="01:00:5e:00:00:fb") / IP(src=PEER, dst="224.0.0.251") / udp / b"m"
    arp_reply = ARP(op=2, hwsrc=PEER_MAC, psrc=PEER, hwdst=MAC, pdst=US)
    yield "udp4-then-arp", [eth / ip / udp / b"first", eth / arp_reply, eth / ip / udp / b"second"]

    yield "ip4-record-route", eth / IP(src=PEER, dst=US, options=[IPOption_RR(routers=["0.0.0.0"] * 4)]) / udp / b"o"
    yield "ip4-source-route", with_options(b"\x83\x07\x04\xc6\x12\x00\x05")
    yield "ip4-option-length-0", with_options(b"\x07\x00\x04\x00")
    yield "ip4-option-beyond", with_options(b"\x07\x28\x04\x00")
    yield "ip4-40-bytes-options", with_options(b"\x01" * 40)
    yield "ip4-version-5", eth / IP(src=PEER, dst=US, version=5) / udp / b"hello"
    yield "ip4-header-length-4", eth / IP(src=PEER, dst=US, ihl=4) / udp / b"hello"
    yield "ip4-header-length-15", eth / IP(src=PEER, dst=US, ihl=15) / udp / b"hello"
    yield "ip4-total-length-below", eth / IP(src=PEER, dst=US, len=19) / udp / b"hello"
    yield "ip4-total-length-beyond", eth / IP(src=PEER, dst=US, len=1400) / udp / b"hello"
    yield "ip4-bad-checksum", eth / IP(src=PEER, dst=US, chksum=0xbeef) / udp / b"hello"
    yield "ip4-own-source", eth / IP(src=US, dst=US) / udp / b"land"
    yield "ip4-loopback-source", eth / IP(src="127.0.0.1", dst=US) / udp / b"martian"
    yield "ip4-other-host", eth / IP(src=PEER, dst="198.18.0.77") / udp / b"hello"
    yield "ip4-tcp", eth / ip / TCP(sport=40000, dport=80)
    yield "ip4-short", bytes(eth / ip / udp)[:30]

    whole = ip / udp / bytes(range(256))
    pieces = [eth / p for p in fragment(whole, fragsize=96)]
    yield "frag4-in-order", pieces
    yield "frag4-first-missing", pieces[1:]
    yield "frag4-last-missing", pieces[:-1]
    yield "frag4-twice", [pieces[0], pieces[0], *pieces[1:]]
    yield "frag4-overlap", [pieces[0], eth / IP(src=PEER, dst=US, id=1, flags="MF", frag=6, proto=17) / (b"o" * 96)]
    yield "frag4-beyond-65535", [pieces[0], eth / IP(src=PEER, dst=US, id=1, frag=8189, proto=17) / (b"o" * 96)]
    yield "frag4-odd-length", eth / IP(src=PEER, dst=US, id=3, flags="MF", proto=17) / (b"o" * 13)
    yield "frag4-tiny", [eth / IP(src=PEER, dst=US, id=4, flags="MF", frag=i, proto=17) / (b"t" * 8) for i in range(12)]
    yield "frag4-empty", eth / IP(src=PEER, dst=US, id=5, flags="MF", frag=3, proto=17)

    yield "icmp4-echo", eth / ip / ICMP(type=8, id=1, seq=1) / b"ping"
    yield "icmp4-echo-broadcast", eth / IP(src=PEER, dst="198.18.0.255") / ICMP(type=8) / b"smurf"
    yield "icmp4-echo-reply", eth / ip / ICMP(type=0, id=1, seq=1) / b"pong"
    yield "icmp4-bad-checksum", eth / ip / ICMP(type=8, chksum=1) / b"ping"
    yield "icmp4-port-unreachable", eth / ip / ICMP(type=3, code=3) / quoted
    yield "icmp4-fragmentation-needed", eth / ip / ICMP(type=3, code=4, nexthopmtu=576) / quoted
    yield "icmp4-fragmentation-needed-0", eth / ip / ICMP(type=3, code=4, nexthopmtu=0) / quoted
    yield "icmp4-time-exceeded", eth / ip / ICMP(type=11, code=0) / quoted
    yield "icmp4-quote-cut", eth / ip / ICMP(type=3, code=3) / bytes(quoted)[:22]
    yield "icmp4-quote-options", \
        eth / ip / ICMP(type=3, code=3) / IP(src=US, dst=PEER, options=[IPOption_NOP()] * 8) / closed
    yield "icmp4-quote-header-length", \
        eth / ip / ICMP(type=3, code=3) / IP(src=US, dst=PEER, ihl=2) / closed

    yield "udp6-echo", eth / ip6 / udp / b"hello"
    yield "udp6-closed-port", eth / ip6 / closed / b"hello"
    yield "udp6-zero-checksum", eth / ip6 / UDP(sport=40000, dport=7, chksum=0) / b"hello"
    yield "udp6-bad-checksum", eth / ip6 / UDP(sport=40000, dport=7, chksum=0x1234) / b"hello"
    yield "udp6-link-local", eth / IPv6(src=PEER_LINK6, dst=LINK6) / udp / b"hello"
    yield "udp6-all-nodes", \
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01") / IPv6(src=PEER_LINK6, dst="ff02::1") / udp / b"m"
    yield "ip6-payload-length-beyond", eth / IPv6(src=PEER6, dst=US6, plen=1400) / udp / b"hello"
    yield "ip6-multicast-source", eth / IPv6(src="ff02::1", dst=US6) / udp / b"hello"
    yield "ip6-short", bytes(eth / ip6 / udp)[:40]

    yield "ext6-hop-by-hop", \
        eth / ip6 / IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"\0\0")]) / udp / b"e"
    yield "ext6-destination", eth / ip6 / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / udp / b"e"
    yield "ext6-routing-0", eth / ip6 / IPv6ExtHdrRouting(type=0, addresses=[PEER6]) / udp / b"e"
    yield "ext6-jumbo", eth / ip6 / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / udp / b"e"
    discard = PadN(otype=0x80, optdata=b"\0" * 4)
    yield "ext6-option-discard", eth / ip6 / IPv6ExtHdrDestOpt(options=[discard]) / udp / b"e"
    yield "ext6-beyond", eth / ip6 / IPv6ExtHdrDestOpt(len=200, options=[PadN(optdata=b"\0" * 4)]) / udp / b"e"
    many = ip6
    for _ in range(20):
        many = many / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    yield "ext6-twenty", eth / many / udp / b"e"

    whole6 = ip6 / IPv6ExtHdrFragment(id=9) / udp / (b"0123456789abcdef" * 150)
    pieces6 = [eth / p for p in fragment6(whole6, 1280)]
    yield "frag6-in-order", pieces6
    yield "frag6-reversed", pieces6[::-1]
    yield "frag6-atomic", eth / ip6 / IPv6ExtHdrFragment(id=10, m=0, offset=0) / udp / b"atomic"
    yield "frag6-overlap", [pieces6[0], eth / ip6 / IPv6ExtHdrFragment(id=9, m=0, offset=2, nh=17) / (b"o" * 32)]
    yield "frag6-odd-length", eth / ip6 / IPv6ExtHdrFragment(id=11, m=1, nh=17) / (b"o" * 13)
    yield "frag6-beyond-65535", eth / ip6 / IPv6ExtHdrFragment(id=12, m=0, offset=8191, nh=17) / (b"o" * 96)

    yield "icmp6-echo", eth / ip6 / ICMPv6EchoRequest(id=1, seq=1, data=b"ping")
    yield "icmp6-echo-all-nodes", eth / IPv6(src=PEER_LINK6, dst="ff02::1") / ICMPv6EchoRequest(data=b"ping")
    yield "icmp6-echo-reply", eth / ip6 / ICMPv6EchoReply(id=1, seq=1, data=b"pong")
    yield "icmp6-bad-checksum", eth / ip6 / ICMPv6EchoRequest(data=b"ping", cksum=1)
    yield "icmp6-port-unreachable", eth / ip6 / ICMPv6DestUnreach(code=4) / quoted6
    yield "icmp6-packet-too-big", eth / ip6 / ICMPv6PacketTooBig(mtu=1280) / quoted6
    yield "icmp6-time-exceeded", eth / ip6 / ICMPv6TimeExceeded(code=0) / quoted6
    yield "icmp6-quote-cut", eth / ip6 / ICMPv6DestUnreach(code=4) / Raw(bytes(quoted6)[:43])
    yield "icmp6-mld-query", eth / IPv6(src=PEER_LINK6, dst="ff02::1", hlim=1) / ICMPv6MLQuery()

    yield "nd-solicitation", Ether(src=PEER_MAC, dst=SOLICITED_MAC) / ns
    yield "nd-solicitation-dad", Ether(src=PEER_MAC, dst=SOLICITED_MAC) / IPv6(src="::", dst=SOLICITED6, hlim=255) / \
        ICMPv6ND_NS(tgt=US6)
    yield "nd-advertisement", eth / na
    yield "nd-then-udp", [Ether(src=PEER_MAC, dst=SOLICITED_MAC) / ns, eth / ip6 / udp / b"hello", eth / na]
    yield "nd-option-length-0", \
        eth / IPv6(src=PEER6, dst=US6, hlim=255) / ICMPv6ND_NA(tgt=PEER6) / Raw(b"\x02\x00" + bytes(6))
    yield "nd-router-advertisement", eth / IPv6(src=PEER_LINK6, dst="ff02::1", hlim=255) / ICMPv6ND_RA() / \
        ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=64)

    yield "vlan-udp4", eth / Dot1Q(vlan=10) / ip / udp / b"tagged"
    yield "vlan-priority", eth / Dot1Q(vlan=0, prio=5) / ip / udp / b"tagged"
    yield "vlan-twice", eth / Dot1Q(vlan=10) / Dot1Q(vlan=20) / ip / udp / b"tagged"
    yield "eth-short", bytes(eth)[:9]
    yield "eth-other-type", Ether(src=PEER_MAC, dst=MAC, type=0x88cc) / b"lldp"


def main():
    folder = pathlib.Path(__file__).resolve().parent / "corpus/frames"
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in seeds():
        row = [bytes(f) for f in (frames if isinstance(frames, list) else [frames])]
        (folder / f"{name}.bin").write_bytes(b"".join(struct.pack(">H", len(f)) + f for f in row))


if __name__ == "__main__":
    main()
