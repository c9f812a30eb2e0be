"""Each header compiles alone, with the flags of the build. Argument: the build directory.

A header that some source of the build includes before all others is compiled alone by the build itself.

What compiled once is not compiled again until it, a header of ours that it sees, or a flag changes.
"""
import concurrent.futures
import hashlib
import json
import pathlib
import shlex
import subprocess
import sys
import unittest

import tree

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tree.ROOT / "build")
SEARCHED = [tree.ROOT / folder for folder in ("stack", "stack/include", "tests", "apps", "perf")]


def flags_by_folder():
    """Folder of sources -> compiler and flags, without input and output."""
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if source.suffix != ".cc" or not source.is_relative_to(tree.ROOT):
            continue
        words = shlex.split(entry["command"])
        kept, skip = [], 0
        for word in words:
            if skip:
                skip -= 1
            elif word in ("-o", "-MF", "-MQ", "-MT", "-c"):
                skip = 1
            elif word not in ("-MD", "-MMD", "ccache"):
                kept.append(word)
        # A source compiled in several ways: the one that sees most.
        folder = source.relative_to(tree.ROOT).parent
        found[folder] = max(found.get(folder, kept), kept, key=len)
    return found


def included_first():
    """The headers that a source of the build includes before all others."""
    found = set()
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if not source.is_relative_to(tree.ROOT):
            continue
        for _, _, path in list(tree.includes(source.relative_to(tree.ROOT)))[:1]:
            found |= {p.resolve() for p in (folder / path for folder in [source.parent, *SEARCHED]) if p.is_file()}
    return found


def own_closure(header):
    """The header and all of ours that it includes, at any depth."""
    seen, todo = set(), [tree.ROOT / header]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for _, _, path in tree.includes(file.relative_to(tree.ROOT)):
            places = [folder / path for folder in [file.parent, *SEARCHED]]
            todo += [p.resolve() for p in places if p.is_file()][:1]
    return sorted(seen)


def digest(header, command):
    of = hashlib.sha256(" ".join(command).encode())
    for file in own_closure(header):
        of.update(str(file.relative_to(tree.ROOT)).encode())
        of.update(file.read_bytes())
    return of.hexdigest()


def as_c(command):
    """The same includes and macros for a C compiler."""
    kept = [w for w in command[1:] if w.startswith(("-I", "-isystem", "-D", "-include", "rte_config", "-m", "-W"))
            and not w.startswith(("-Wnon-virtual", "-Wno-"))]
    return ["gcc" if "clang" not in command[0] else "clang", "-std=c11", *kept]


class Headers(unittest.TestCase):
    def test_each_header_compiles_alone(self):
        by_folder = flags_by_folder()
        if not by_folder:
            self.skipTest(f"{BUILD} compiles nothing")
        default = by_folder.get(pathlib.Path("stack/base")) or next(iter(by_folder.values()))
        cache = BUILD / "lint-headers.json"
        good = set(json.loads(cache.read_text())) if cache.exists() else set()
        todo, kept = [], set()
        built = included_first()
        for header in tree.headers():
            if (tree.ROOT / header).resolve() in built and header.suffix != ".h":
                continue
            command = by_folder.get(header.parent, default)
            if header.parts[0] == "tests":
                command = command + [f"-I{tree.ROOT}/stack", f"-I{tree.ROOT}/stack/include", f"-I{tree.ROOT}/tests"]
            ways = [command + ["-x", "c++"]]
            if header.suffix == ".h":
                ways.append(as_c(command) + ["-x", "c"])
            for way in ways:
                way = way + ["-fsyntax-only", "-include", str(tree.ROOT / header), "/dev/null"]
                key = digest(header, way)
                if key in good:
                    kept.add(key)
                else:
                    todo.append((header, key, way))

        def compile_one(job):
            header, key, command = job
            done = subprocess.run(command, cwd=BUILD, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            return header, key, done.returncode, done.stderr

        wrong = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for header, key, code, said in pool.map(compile_one, todo):
                if code == 0:
                    kept.add(key)
                else:
                    wrong.append(f"{header} does not compile alone:\n" + "\n".join(said.splitlines()[:15]))
        cache.write_text(json.dumps(sorted(kept)))
        if wrong:
            self.fail("\n" + "\n".join(wrong))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
