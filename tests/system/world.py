"""Network namespaces, links and the server under test, for the system tests.

Every World has namespaces of its own, named after this process, and removes them. On the kernel's side of each link is
`peer_device` with 198.18.0.2/24 and 2001:db8::2/64; the stack has 198.18.0.1, 2001:db8::1 and fe80::5:1.
"""
import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

PATIENCE = 30  # seconds; far more than anything here takes, for machines that are busy

SERVER4, SERVER6, SERVER_LINK_LOCAL = "198.18.0.1", "2001:db8::1", "fe80::5:1"
PEER4, PEER6 = "198.18.0.2", "2001:db8::2"
ADDRESSES = [f"{SERVER4}/24", f"{SERVER6}/64", f"{SERVER_LINK_LOCAL}/64"]
ECHO, DISCARD = 7, 9

VLAN_CONFIG = """
[[port]]
device = "{port}"
name = "skua0"
addresses = ["198.18.0.1/24", "2001:db8::1/64"]

[[port.vlan]]
id = 100
addresses = ["198.18.100.1/24", "2001:db8:100::1/64"]
"""

_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def server_program():
    return os.environ["SKUA_ECHO"]


def remove_leftovers():
    """Namespaces of runs that were killed."""
    for file in pathlib.Path("/run/netns").glob("skua-*-*"):
        if not pathlib.Path(f"/proc/{file.name.split('-')[1]}").exists():
            subprocess.run(["ip", "netns", "delete", file.name], check=False)


def unused_name():
    return f"skua-{os.getpid()}-{next(_numbers)}"


def eventually(true, what, seconds=PATIENCE):
    """Waits until true() is; its value."""
    end = time.monotonic() + seconds
    while not (value := true()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


class Namespace:
    def __init__(self):
        self.name = unused_name()
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        # Nothing that is not asked for may be sent: no router solicitations, no probes for unused addresses.
        self.run(
            "sysctl",
            "-qw",
            "net.ipv4.conf.all.forwarding=0",
            "net.ipv6.conf.all.forwarding=0",
            "net.ipv6.conf.default.accept_ra=0",
            "net.ipv6.conf.default.router_solicitations=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.all.keep_addr_on_down=1",
            "net.ipv6.conf.default.keep_addr_on_down=1",
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        )
        self.ip("link", "set", "lo", "up")

    def close(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command, check=True, **options):
        """What a program says, when it has ended; if `check`, it must end well."""
        done = subprocess.run(
            self.command(*command),
            stdin=None if "input" in options else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def shell(self, line, **options):
        return self.run("bash", "-c", line, **options)

    def ip(self, *words):
        return self.run("ip", *words).stdout

    def start(self, *command, **options):
        return subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, **options)

    def socket(self, family=socket.AF_INET, type=socket.SOCK_DGRAM):
        """A socket of this namespace; the process stays in its own."""
        with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{self.name}") as there:
            self._enter(there)
            try:
                made = socket.socket(family, type)
            finally:
                self._enter(own)
        made.settimeout(PATIENCE)
        return made

    @staticmethod
    def _enter(namespace):
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def add_addresses(self, device, *addresses):
        for a in addresses:
            self.ip("address", "add", a, "dev", device, *(["nodad"] if ":" in a else []))

    def sysctl(self, **settings):
        self.run("sysctl", "-qw", *(f"{k}={v}" for k, v in settings.items()))


class Server:
    """skua-echo, or another program, running. Its output is read all the time."""

    def __init__(self, namespace, eal, options, program=None, environment=None):
        self.prefix = unused_name()
        command = namespace.command(
            program or server_program(),
            "--no-pci",
            "--no-huge",
            "-m",
            "512",
            f"--file-prefix={self.prefix}",
            *eal,
            "--",
            "--idle",
            "yield",
            *options,
        )
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self._reader.start()

    @property
    def output(self):
        return "".join(list(self.lines))

    def wait_until_ready(self):
        def ready():
            if self.process.poll() is not None:
                self._reader.join()
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.output}")
            return "ready\n" in list(self.lines)

        eventually(ready, "ready")

    def stop(self, number=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join()
            self.process.stdout.close()

    def telemetry(self, command):
        """The answer of DPDK's telemetry socket (doc/guides/howto/telemetry)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(PATIENCE)
            s.connect(f"/var/run/dpdk/{self.prefix}/dpdk_telemetry.v2")
            s.recv(16384)  # who it is
            s.send(command.encode())
            return json.loads(s.recv(65536))[command.partition(",")[0]]

    def rows(self, command):
        return [row for key, row in self.telemetry(command).items() if key != "total"]

    def drops(self):
        return self.telemetry("/skua/drops")

    def mib(self):
        return self.telemetry("/skua/mib")

    def final_sockets(self):
        """The table of the last statistics, when it has been stopped: one dictionary for each socket."""
        text = self.output[self.output.rindex("service ") :]
        head, *rows = [line.split() for line in text.split("\n\n")[0].splitlines()]
        return [dict(zip(head, row)) for row in rows if row[0] in ("echo", "discard")]


class Tap:
    """A TAP port: its kernel end is in the server's namespace."""

    name = "net_tap"
    port = "net_tap0"
    peer_device = "skua0"
    largest4, largest6 = 65507, 65527
    separate = False

    def eal(self, queues):
        return ["--vdev=net_tap0,iface=skua0"]

    def before(self, world):
        pass

    def after(self, world):
        # Both ends have one MAC address at first: not to be told apart in a capture.
        world.peer.ip("link", "set", self.peer_device, "address", "02:00:00:00:00:02")


class Packet:
    """A port over AF_PACKET on one end of a veth pair."""

    name = "net_af_packet"
    port = "net_af_packet0"
    peer_device = "peer0"
    # The driver asks the kernel to put IPv4 datagrams together (PACKET_FANOUT_FLAG_DEFRAG) and cuts off what is then
    # larger than a frame of its ring. See test_large_ipv4 for larger ones.
    largest4, largest6 = 1472, 65527
    separate = True
    link_queues = 2

    def __init__(self, frame=2048, frames=512):
        self.frame, self.frames = frame, frames

    def eal(self, queues):
        block = 65536 if 65536 % self.frame == 0 else self.frame  # whole frames in it
        return [
            f"--vdev=net_af_packet0,iface=stack0,qpairs={queues},blocksz={block},framesz={self.frame},"
            f"framecnt={self.frames},qdisc_bypass=1"
        ]

    def before(self, world):
        queues = ["numrxqueues", self.link_queues, "numtxqueues", self.link_queues]
        world.peer.ip(
            "link",
            "add",
            "peer0",
            *queues,
            "type",
            "veth",
            "peer",
            "name",
            "stack0",
            *queues,
            "netns",
            world.stack.name,
        )
        # What stays inside the kernel has no checksums yet, but here it is read as from a wire.
        world.peer.run("ethtool", "-K", "peer0", "tx-checksumming", "off")
        world.stack.sysctl(**{"net.ipv6.conf.stack0.disable_ipv6": 1})
        world.stack.ip("link", "set", "stack0", "up")
        world.peer.ip("link", "set", "peer0", "up")

    def after(self, world):
        pass


class Xdp(Packet):
    """A port over AF_XDP on one end of a veth pair: no offload of any kind, one segment a frame, one queue a port."""

    name = "net_af_xdp"
    port = "net_af_xdp0"
    largest4 = 65507
    link_queues = 1

    def eal(self, queues):
        return ["--vdev=net_af_xdp0,iface=stack0,start_queue=0,queue_count=1"]


def has_af_xdp():
    try:
        socket.socket(44, socket.SOCK_RAW).close()
    except OSError:
        return False
    return True


class World:
    """A link with a server on one side and the kernel, in the namespace `peer`, on the other."""

    def __init__(self, link, options=None, config=None, queues=1, eal=(), addresses=ADDRESSES, program=None,
                 environment=None):
        self.link = link
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.peer = self._namespace()
            self.stack = self._namespace() if link.separate else self.peer
            self.directory = pathlib.Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="skua-system-")))
            link.before(self)
            words = list(options or [])
            if config is not None:
                (self.directory / "skua.toml").write_text(config)
                words += ["--config", self.directory / "skua.toml"]
            else:
                words += ["--port", f"{link.port},name=skua0", *(w for a in addresses for w in ("--address", a))]
            if queues > 1:
                words += ["--shards", queues]
            self.server = Server(self.stack, [*link.eal(queues), *eal], words, program, environment)
            self._open.callback(self.server.stop)
            if link.separate:
                self._bring_up()
            else:
                eventually(
                    lambda: self.peer.run("ip", "link", "show", link.peer_device, check=False).returncode == 0
                    or self.server.process.poll() is not None,
                    link.peer_device,
                )
            self.server.wait_until_ready()
            if not link.separate:
                self._bring_up()
            undo.pop_all()

    def _namespace(self):
        made = Namespace()
        self._open.callback(made.close)
        return made

    def _bring_up(self):
        self.link.after(self)
        self.peer.add_addresses(self.link.peer_device, f"{PEER4}/24", f"{PEER6}/64")
        self.peer.ip("link", "set", self.link.peer_device, "up")

    def close(self):
        self._open.close()

    def mac(self):
        """Of the stack's port."""
        return re.search(r"MAC ([0-9a-f:]{17})", self.server.output)[1]

    def udp(self, family=socket.AF_INET, to=None, port=ECHO, bind=None):
        """A connected UDP socket of the peer."""
        s = self.peer.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if bind:
            s.bind(bind)
        host, _, device = (to or (SERVER4 if family == socket.AF_INET else SERVER6)).partition("%")
        scope = json.loads(self.peer.ip("-j", "link", "show", device))[0]["ifindex"] if device else 0
        s.connect((host, port, 0, scope) if family == socket.AF_INET6 else (host, port))
        return s

    def ping(self, to, size=56, count=1, *more):
        return self.peer.run("ping", "-c", count, "-i", "0.2", "-W", "10", "-s", size, *more, to, check=False)

    @contextlib.contextmanager
    def capture(self, what=""):
        """Frames from the stack, written to the file that this gives."""
        file = self.directory / f"{next(_numbers)}.pcap"
        program = self.peer.start(
            "tcpdump",
            "-U",
            "--immediate-mode",
            "-n",
            "-Z",
            "root",
            "-i",
            self.link.peer_device,
            "-w",
            file,
            f"ether src {self.mac()} {what}",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if not any("listening" in line for line in iter(program.stderr.readline, "")):
                raise AssertionError("tcpdump does not listen")
            yield file
            time.sleep(0.2)  # what was received may still be on its way to the file
        finally:
            program.terminate()
            program.communicate()


class WorldTest(unittest.TestCase):
    """A class of tests on one world; made by make_world()."""

    @classmethod
    def make_world(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        remove_leftovers()
        cls.world = cls.make_world()

    @classmethod
    def tearDownClass(cls):
        server = cls.world.server
        code = server.stop()
        output = server.output
        cls.world.close()
        if code != 0:
            raise AssertionError(f"the server ended with {code}:\n{output}")

    def assert_echo(self, s, payload):
        s.send(payload)
        self.assertEqual(s.recv(65536), payload)

    def assert_ping(self, to, size=56, *more, world=None):
        done = (world or self.world).ping(to, size, 1, *more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
