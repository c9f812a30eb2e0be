"""skua run: where sockets go and what is said about it, without a daemon, with rules; which programs are refused."""
import os
import pathlib
import signal
import stat
import struct
import subprocess
import tempfile
import unittest

PYTHON = "/usr/bin/python3"
PATIENCE = 60

class Daemon:
    """skuad without ports."""

    def __init__(self, attach):
        self.process = subprocess.Popen(
            [os.environ["SKUAD"], "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "512",
             "--log-level=error", f"--file-prefix=skua-run-{os.getpid()}", "--", "--idle", "yield", "--attach-path",
             attach],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line == "ready\n":
                return
        raise AssertionError(f"skuad ended with {self.process.wait()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code


# A socket of skua's is one end of a UNIX pair to the kernel, which lists those by inode.
PROBE = """
import os, socket
def where(s):
    inode = str(os.fstat(s.fileno()).st_ino)
    with open("/proc/self/net/unix") as f:
        return "skua" if any(inode in line.split() for line in f) else "kernel"
"""


class RunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="skua-run-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.attach = f"{cls.directory.name}/attach"
        cls.daemon = Daemon(cls.attach)

    @classmethod
    def tearDownClass(cls):
        assert cls.daemon.stop() == 0

    def file(self, name, text):
        path = pathlib.Path(self.directory.name) / name
        path.write_text(text)
        return str(path)

    def run_it(self, *words, env=None, **more):
        return subprocess.run([os.environ["SKUA"], "run", *map(str, words)], capture_output=True, text=True,
                              timeout=PATIENCE, env={**os.environ, **(env or {})}, **more)

    def probe(self, text, *options, env=None):
        """What a Python program says that has where(socket) and sees these options."""
        done = self.run_it("--attach", self.attach, *options, PYTHON, "-c", PROBE + text, env=env)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.split()

    # ---- Where sockets go ----

    def test_udp_goes_to_skua_and_all_else_to_the_kernel(self):
        self.assertEqual(self.probe("""
for family, kind, protocol in (
        (socket.AF_INET, socket.SOCK_DGRAM, 0), (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        (socket.AF_INET, socket.SOCK_STREAM, 0), (socket.AF_INET6, socket.SOCK_STREAM, 0),
        (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE)):
    print(where(socket.socket(family, kind, protocol)))
"""), ["skua", "skua", "kernel", "kernel", "kernel"])

    def test_a_rule_about_addresses_is_asked_at_the_first_one(self):
        rules = self.file("rules", "kernel address 127.0.0.0/8\nkernel address ::1\n")
        self.assertEqual(self.probe("""
def fresh(family=socket.AF_INET): return socket.socket(family, socket.SOCK_DGRAM)
s = fresh(); print(where(s)); s.bind(("127.0.0.1", 0)); print(where(s))
at = s.getsockname()
t = fresh(); t.connect(at); print(where(t)); t.send(b"connected"); print(s.recv(100).decode())
u = fresh(); u.sendto(b"sent", at); print(where(u)); print(s.recv(100).decode())
v = fresh(); v.sendmsg([b"in", b"parts"], [], 0, at); print(where(v)); print(s.recv(100).decode())
six = fresh(socket.AF_INET6); six.bind(("::1", 0)); print(where(six))
every = fresh(); every.bind(("", 0)); print(where(every))
mapped = fresh(socket.AF_INET6); mapped.connect(("::ffff:127.0.0.1", at[1])); print(where(mapped))
""", "--rules", rules), "skua kernel kernel connected kernel sent kernel inparts kernel skua kernel".split())

    def test_what_was_set_before_comes_along(self):
        rules = self.file("rules", "kernel address 127.0.0.0/8\n")
        self.assertEqual(self.probe("""
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5000)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
before = s.fileno()
s.bind(("127.0.0.1", 0))
print(where(s), s.fileno() == before, s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
      s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), s.getsockopt(socket.IPPROTO_IP, socket.IP_TTL),
      bool(fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK), bool(fcntl.fcntl(s, fcntl.F_GETFD) & fcntl.FD_CLOEXEC))
import socket as m
t = m.socket(m.AF_INET, m.SOCK_DGRAM); os.set_inheritable(t.fileno(), True)
t.bind(("127.0.0.1", 0)); print(where(t), bool(fcntl.fcntl(t, fcntl.F_GETFD) & fcntl.FD_CLOEXEC))
""", "--rules", rules), "kernel True 1 10000 77 True True kernel False".split())

    def test_a_rule_about_a_program(self):
        name = os.path.basename(os.path.realpath(PYTHON))
        for text, expected in ((f"kernel program {name}\n", "kernel"), ("kernel program python*\n", "kernel"),
                               ("kernel program dig\n", "skua"), (f"skua program {name}\nkernel\n", "skua")):
            with self.subTest(text):
                rules = self.file("rules", text)
                self.assertEqual(
                    self.probe("print(where(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))", "--rules", rules),
                    [expected])

    def test_bad_rules_start_nothing(self):
        done = self.run_it("--attach", self.attach, "--rules", self.file("rules", "\nkernal\n"), "/bin/echo", "started")
        self.assertEqual(done.returncode, 127)
        self.assertEqual(done.stdout, "")
        self.assertIn("line 2: found \"kernal\"", done.stderr)
        done = self.run_it("--rules", "/nowhere", "/bin/echo", "started")
        self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_the_log_says_where_and_why(self):
        rules = self.file("rules", "kernel address 127.0.0.0/8   # the host's own\n")
        log = f"{self.directory.name}/log"
        program = """
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("127.0.0.1", 0))
b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); b.bind(("::1", 5555))
c = socket.socket()
"""
        self.probe(program, "--rules", rules, "--log", log)
        lines = [line.split("] ")[1] for line in pathlib.Path(log).read_text().splitlines()]
        self.assertRegex(lines[0], r"^socket \d+: kernel, IPv4; bound to 127.0.0.1:0 \(rule 1: kernel address "
                                   r"127.0.0.0/8\)$")
        self.assertRegex(lines[1], r"^socket \d+: skua, IPv6; bound to \[::1\]:5555 \(no rule\)$")
        self.assertRegex(lines[2], r"^socket \d+: kernel \(no UDP: family 2, type 1, protocol 0\)$")
        self.assertEqual(len(lines), 3)
        done = self.run_it("--attach", self.attach, "--log", "stderr", PYTHON, "-c", "import socket\n" + program)
        self.assertIn("skua, IPv6 (no rule)", done.stderr)

    # ---- Without a daemon ----

    def test_without_a_daemon_it_is_an_error_that_says_so(self):
        done = self.run_it("--attach", f"{self.directory.name}/nobody", PYTHON, "-c", """
import errno, socket
for i in range(2):
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as e: print(errno.errorcode[e.errno])
print(socket.socket().fileno() >= 0)
""")
        self.assertEqual(done.stdout.split(), ["ENETDOWN", "ENETDOWN", "True"])
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"no daemon at \S*/nobody: No such file or directory; no UDP socket can be had")

    def test_or_the_kernels_sockets(self):
        done = self.run_it("--attach", f"{self.directory.name}/nobody", "--fallback", "kernel", PYTHON, "-c",
                           PROBE + """
for i in range(2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(where(s))
""")
        self.assertEqual(done.stdout.split(), ["kernel", "kernel"], done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("UDP sockets are the kernel's", done.stderr)

    def test_the_environment_says_the_same_as_options(self):
        env = {"SKUA_ATTACH": f"{self.directory.name}/nobody", "SKUA_FALLBACK": "kernel"}
        self.assertIn("UDP sockets are the kernel's", self.run_it(PYTHON, "-c", "import socket; "
                      "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", env=env).stderr)
        done = self.run_it("/bin/echo", "started", env={"SKUA_FALLBACK": "perhaps"})
        self.assertEqual((done.returncode, done.stdout), (127, ""))
        self.assertIn("expected \"kernel\" or \"error\"", done.stderr)

    def test_the_attach_socket_of_a_configuration(self):
        config = self.file("skua.toml", f"[attach]\npath = \"{self.attach}\"\n")
        done = self.run_it("--config", config, PYTHON, "-c", PROBE +
                           "print(where(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))")
        self.assertEqual(done.stdout.split(), ["skua"], done.stderr)
        done = self.run_it("--config", self.file("none.toml", "[stack]\nshards = 1\n"), "/bin/echo", "started")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("attach.path is not set", done.stderr)

    # ---- Programs ----

    def test_words_of_the_program_are_its_own(self):
        done = self.run_it("--attach", self.attach, "/bin/echo", "--log", "stderr", "-n", "--", "x")
        self.assertEqual(done.stdout, "--log stderr -n -- x\n")
        self.assertEqual(self.run_it("--", "/bin/echo", "-x").stdout, "-x\n")
        self.assertEqual(self.run_it("sh", "-c", "exit 7").returncode, 7)

    def test_other_preloads_stay(self):
        done = self.run_it("sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": "libdl.so.2"})
        self.assertRegex(done.stdout, r"/libskua-preload\.so:libdl\.so\.2$")

    def test_what_cannot_be_had_is_refused(self):
        self.assertEqual(self.run_it().returncode, 2)
        done = self.run_it("no-such-program-anywhere")
        self.assertEqual(done.returncode, 127)
        self.assertIn("no such program", done.stderr)

    def elf(self, name, parts, word_size=2, mode=0o755):
        """An ELF file with these program headers, whose notes say what is given."""
        notes = b"".join(n for _, n in parts)
        at = 64 + 56 * len(parts)
        heads, offset = b"", at
        for kind, note in parts:
            heads += struct.pack("<IIQQQQQQ", kind, 4, offset, 0, 0, len(note), len(note), 4)
            offset += len(note)
        ident = b"\x7fELF" + bytes([word_size, 1, 1]) + bytes(9)
        head = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(parts), 0, 0, 0)
        path = pathlib.Path(self.directory.name) / name
        path.write_bytes(head + heads + notes)
        path.chmod(mode)
        return path

    def test_programs_that_take_no_preload_are_refused(self):
        load, interp, note = 1, 3, 4
        go = struct.pack("<III", 4, 4, 4) + b"Go\0\0" + b"abcd"
        for file, why in (
            (self.elf("static", [(load, b"")]), "linked statically"),
            (self.elf("go", [(load, b""), (note, go)]), "is a Go program"),
            (self.elf("small", [(load, b"")], word_size=1), "a 32-bit program"),
        ):
            with self.subTest(why):
                done = self.run_it(file)
                self.assertEqual(done.returncode, 126)
                self.assertIn(why, done.stderr)
        script = pathlib.Path(self.directory.name) / "script"
        script.write_text(f"#!{self.directory.name}/static\n")
        script.chmod(0o755)
        self.assertIn("linked statically", self.run_it(script).stderr)
        dynamic = self.elf("cgo", [(interp, b"/lib64/ld-linux-x86-64.so.2\0"), (note, go)])
        self.assertIn("the sockets that it makes itself stay the kernel's", self.run_it(dynamic).stderr)

    def test_other_privileges_are_refused(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to make a file that is another user's")
        file = self.elf("privileged", [(3, b"/lib64/ld-linux-x86-64.so.2\0")])
        os.chown(file, 1, 1)
        file.chmod(0o755 | stat.S_ISUID)
        done = self.run_it(file)
        self.assertEqual(done.returncode, 126)
        self.assertIn("other privileges", done.stderr)

    def test_help(self):
        for words in (["--help"], ["run", "--help"]):
            done = subprocess.run([os.environ["SKUA"], *words], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertIn("run", done.stdout)


if __name__ == "__main__":
    unittest.main()
