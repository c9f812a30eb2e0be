#!/usr/bin/python3
"""Writes the seeds of the program fuzzer into corpus/programs/: small BPF programs, sound and unsound.

The first byte of a file says the language: even for extended BPF (an array of instructions or an ELF object), odd for
classic. Other files in corpus/programs/ stay: they are finds.
"""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "programs"


def extended(*instructions):
    return b"\0" + b"".join(struct.pack("<BBhi", code, to | source << 4, off, imm)
                            for code, to, source, off, imm in instructions)


def classic(*instructions):
    return b"\1" + b"".join(struct.pack("<HBBI", *i) for i in instructions)


def elf(code):
    """An object with one section of code, laid out by hand: header, code, names, section headers."""
    names = b"\0.text\0.shstrtab\0"
    at = 64 + len(code)
    table = (at + len(names) + 7) // 8 * 8
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 247, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    section = struct.Struct("<IIQQQQIIQQ").pack
    sections = (section(0, 0, 0, 0, 0, 0, 0, 0, 0, 0) + section(1, 1, 6, 0, 64, len(code), 0, 0, 8, 0)
                + section(7, 3, 0, 0, at, len(names), 0, 0, 1, 0))
    return b"\0" + head + code + names + bytes(table - at - len(names)) + sections


leave = (0x95, 0, 0, 0, 0)
return_one = extended((0xb7, 0, 0, 0, 1), leave)
SEEDS = {
    "return-one": return_one,
    "payload": extended((0xbf, 6, 1, 0, 0), (0x30, 0, 0, 0, 3), leave),
    "payload-indirect": extended((0xbf, 6, 1, 0, 0), (0xb7, 2, 0, 0, 70), (0x50, 0, 2, 0, 1), leave),
    "field": extended((0x61, 0, 1, 68, 0), (0x97, 0, 0, 0, 4), leave),
    "branch": extended((0x61, 2, 1, 0, 0), (0xb7, 0, 0, 0, 0), (0x15, 2, 0, 1, 7), (0xb7, 0, 0, 0, 1), leave),
    "stack": extended((0xb7, 0, 0, 0, 5), (0x7b, 10, 0, -8, 0), (0x79, 0, 10, -8, 0), leave),
    "wide": extended((0x18, 0, 0, 0, 1), (0, 0, 0, 0, 2), leave),
    "swap": extended((0x61, 0, 1, 16, 0), (0xdc, 0, 0, 0, 16), leave),
    "write-context": extended((0xb7, 0, 0, 0, 0), (0x63, 1, 0, 68, 0), leave),
    "spill-context": extended((0x7b, 10, 1, -8, 0), (0x79, 2, 10, -8, 0), (0x79, 0, 2, 0, 0), leave),
    "loop": extended((0xb7, 0, 0, 0, 0), (0x05, 0, 0, -1, 0), leave),
    "call": extended((0x85, 0, 0, 0, 7), leave),
    # DPDK's compiler encodes it wrongly (see compiles_right() in bpf_selector.cc).
    "jump-if-set": extended((0x61, 2, 1, 0, 0), (0xb7, 0, 0, 0, 0), (0x45, 2, 0, 1, 1), (0xb7, 0, 0, 0, 1), leave),
    "elf": elf(return_one[1:]),
    "classic-byte": classic((0x30, 0, 0, 1), (0x16, 0, 0, 0)),
    "classic-hash": classic((0x20, 0, 0, 0xfffff020), (0x94, 0, 0, 4), (0x16, 0, 0, 0)),
    "classic-branch": classic((0x80, 0, 0, 0), (0x15, 0, 1, 7), (0x06, 0, 0, 1), (0x06, 0, 0, 2)),
    "classic-memory": classic((0, 0, 0, 5), (0x02, 0, 0, 15), (0x61, 0, 0, 15), (0x50, 0, 0, 1), (0x16, 0, 0, 0)),
    "classic-no-end": classic((0x30, 0, 0, 1)),
}

if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (CORPUS / f"{name}.bin").write_bytes(content)
    print(f"{len(SEEDS)} seeds")
