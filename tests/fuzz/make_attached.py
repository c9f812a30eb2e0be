#!/usr/bin/env python3
"""Writes the seeds of the fuzz target `attached`: steps of an attached process, in order and out of it."""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus" / "attached"
TURN = b"\x07"
BIND, CONNECT, OPTION, DESTINATION, OPEN, SHUTDOWN = 4, 5, 8, 11, 3, 10


def request(what, words=(0, 0, 0), body=b"", address=b"", descriptor=1):
    return bytes([0, what]) + struct.pack(">HBB", *words) + bytes([len(body)]) + body + address + bytes([descriptor])


def name(port=0, peer=True):
    """Family in order, port 7000 + port."""
    return bytes([1, port, 1 if peer else 0])


def record(payload=b"", port=9, flags=0, size=None, kind=1):
    whole = 64 + (len(payload) + 63) // 64 * 64 if size is None else size
    head = struct.pack("<IIHHHH", whole, len(payload), kind, flags, port, 0)
    peer = bytes(10) + b"\xff\xff" + bytes([198, 18, 0, 2])
    return (head + peer + bytes(16)).ljust(64, b"\0")


def sent(r, lines=1):
    return b"\x03" + r + bytes([lines]) + b"\x05\x00\x00\x00\x00\x01" + TURN


BOUND = b"\x00\x00" + request(BIND, address=name(peer=False)) + TURN * 3
SEEDS = {
    "sends": BOUND + request(DESTINATION, address=name()) + TURN + sent(record(b"")) * 3,
    "receives": BOUND + b"\x06\x00" * 4 + TURN * 2,
    "connected": BOUND + request(CONNECT, address=name(1)) + TURN + sent(record(flags=1)),
    "not_bound": b"\x00\x00" + sent(record()),
    "six": b"\x01\x01" + request(BIND, address=name()) + TURN * 2 + sent(record()),
    "skips": BOUND + sent(record(size=64, kind=2)) * 4,
    "too_long": BOUND + sent(record(size=0x7fffffc0)) + sent(record()),
    "options": BOUND + b"".join(request(OPTION, (1, n, 0), struct.pack("<I", 1)) + TURN for n in range(2, 60)),
    "opens": BOUND + request(OPEN) + TURN + request(OPEN, descriptor=0) + TURN,
    "shut": BOUND + request(SHUTDOWN, (2, 0, 0)) + TURN + sent(record()),
    "page": BOUND + b"".join(b"\x02" + struct.pack(">H", at) + b"\x08" + b"\xff" * 8 + b"\x06\x00" + TURN
                             for at in range(0, 640, 8)),
    "half": b"\x00\x00\x01\x05hello" + TURN,
    "unread": b"\x00\x00" + request(OPTION, (1, 2, 0), b"\1\0\0\0") * 40 + TURN,
    "announced": BOUND + b"\x05\x00\x00\x03\xff\xff" * 4 + TURN,
}

if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for seed, data in SEEDS.items():
        (HERE / seed).write_bytes(data)
