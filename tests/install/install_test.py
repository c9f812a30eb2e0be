"""What `meson install` puts in place is enough to build and run a program outside. Argument: the build directory."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "build")


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="skua-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.scratch)
        found = list(cls.scratch.rglob("skua.pc"))
        cls.pc = found[0] if found else None
        if cls.pc:
            # Installed below a scratch directory, so the prefix it was made for is there instead.
            text = cls.pc.read_text()
            prefix = re.search(r"^prefix=(.*)$", text, re.MULTILINE).group(1)
            cls.prefix = cls.scratch / prefix.lstrip("/")
            cls.pc.write_text(text.replace(f"prefix={prefix}", f"prefix={cls.prefix}", 1))

    def build(self, compiler, source, *flags):
        """The program, and the environment that it runs in."""
        self.assertIsNotNone(self.pc, "no skua.pc is installed")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.pc.parent)}
        words = run("pkg-config", "--cflags", "--libs", "skua", env=environment).split()
        self.assertIn(f"-I{self.prefix}/include", words)
        program = self.scratch / source.replace(".", "_")
        run(compiler, *flags, "-Wall", "-Wextra", "-Werror", HERE / source, "-o", program, *words)
        environment["LD_LIBRARY_PATH"] = str(self.pc.parent.parent)
        return program, environment

    def build_and_run(self, compiler, source, *flags):
        program, environment = self.build(compiler, source, *flags)
        self.assertIn("linked and run", run(program, env=environment))

    def test_a_c_program(self):
        self.build_and_run("gcc", "outside.c", "-std=c11")

    def test_a_cpp_program(self):
        self.build_and_run("g++", "outside.cc", "-std=c++20", "-Wno-volatile")  # rte_spinlock.h

    def test_the_readmes_rx_loop(self):
        text = (HERE / "rx_loop.c").read_text()
        self.assertIn(f"```c\n{text}```", (HERE.parents[1] / "README.md").read_text())
        program, environment = self.build("gcc", "rx_loop.c", "-std=gnu11")
        eal = ["--no-huge", "--no-shconf", "--no-pci", "-m", "512", "--lcores", "0@0", "--vdev=net_null0,no-rx=1"]
        loop = subprocess.Popen([program, *eal], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                env=environment)
        try:
            self.assertEqual(loop.stdout.readline(), "ready\n")
            loop.terminate()
            self.assertEqual(loop.wait(timeout=30), 0)
        finally:
            loop.kill()
            loop.stdout.close()

    def test_headers_are_those_of_the_tree(self):
        self.assertIsNotNone(self.pc, "no skua.pc is installed")
        tree = HERE.parents[1] / "stack/include"
        wanted = sorted(p.relative_to(tree) for p in tree.rglob("*.h*"))
        there = sorted(p.relative_to(self.prefix / "include") for p in (self.prefix / "include/skua").rglob("*.h*"))
        self.assertEqual(there, wanted)

    def test_the_apps_start(self):
        apps = sorted(p for p in (self.scratch).rglob("bin/*"))
        self.assertIn("skua-echo", [p.name for p in apps])
        for app in apps:
            run(app, "--help", timeout=30, env={**os.environ, "LD_LIBRARY_PATH": str(self.pc.parent.parent)})

    def test_a_program_that_attaches_needs_no_dpdk(self):
        text = (self.pc.parent / "skua-client.pc").read_text()
        prefix = re.search(r"^prefix=(.*)$", text, re.MULTILINE).group(1)
        (self.pc.parent / "skua-client.pc").write_text(text.replace(f"prefix={prefix}", f"prefix={self.prefix}", 1))
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.pc.parent), "SKUA_ATTACH": str(self.scratch / "none"),
                       "LD_LIBRARY_PATH": str(self.pc.parent.parent)}
        words = run("pkg-config", "--cflags", "--libs", "skua-client", env=environment).split()
        program = self.scratch / "attached"
        run("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", HERE / "attached.c", "-o", program, *words)
        self.assertIn("linked and run", run(program, env=environment))
        self.assertNotIn("librte", run("ldd", program, env=environment))

    def test_skua_run_finds_the_preload(self):
        skua = next(self.scratch.rglob("bin/skua"))
        said = run(skua, "run", "--attach", self.scratch / "none", "--fallback", "kernel", "/bin/sh", "-c",
                   "echo $LD_PRELOAD", timeout=30)
        self.assertIn(str(self.prefix), said)
        self.assertIn("libskua-preload.so", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
