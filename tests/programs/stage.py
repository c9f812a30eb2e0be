"""Where the programs run: a host whose UDP is the kernel's in one run and skua's in the other, and a kernel peer.

The host has the same addresses either way, so that every command line is the same: its kernel is at one end of a veth
pair, skuad at a TAP port, and at the peer a rule sends what is not TCP to the one or to the other. skuad runs at the
peer, where the kernel's end of its TAP port is; programs find it by the path of its socket.
"""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from world import PEER4, PEER6, SERVER4, SERVER6, Namespace, Tap, World, eventually, remove_leftovers  # noqa: E402

HOST4, HOST6 = SERVER4, SERVER6
__all__ = ["HOST4", "HOST6", "PEER4", "PEER6", "Program", "Stage", "eventually"]

CONFIG = """
[[port]]
device = "net_tap0"
name = "host0"
addresses = ["198.18.0.1/24", "2001:db8::1/64"]

[attach]
path = "{attach}"

[[attach.allow]]  # named binds when it is this user; the kernel's CAP_NET_BIND_SERVICE is nothing to skuad
user = "bind"
ports = [53]
"""
SECONDS = 30  # that one program may take


class Program:
    """One that runs in the background; its output is read all the time."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                        **options)
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self._reader.start()

    @property
    def output(self):
        return "".join(list(self.lines))

    def says(self, text):
        """Waits until it has said so; the whole output."""
        eventually(lambda: text in self.output or self.process.poll() is not None, f"{text!r} in {self.output!r}",
                   SECONDS)
        if text not in self.output:
            raise AssertionError(f"it ended with {self.process.poll()} before it said {text!r}:\n{self.output}")
        return self.output

    def wait(self):
        """Its output, when it has ended by itself."""
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return self.output

    def stop(self, number=signal.SIGTERM):
        """It and its children end."""
        group = self.process.pid
        if self.process.poll() is None:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self._reader.join(SECONDS)
        self.process.stdout.close()


class Side:
    """The host with its UDP in one place."""

    def __init__(self, stage, name):
        self.stage, self.name = stage, name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=stage.world.directory))
        self.directory.chmod(0o777)
        self.log = self.directory / "skua.log"
        self.program = None

    def command(self, *words):
        if self.name == "skua":
            words = [os.environ["SKUA"], "run", "--attach", self.stage.attach, "--log", self.log, *words]
        return self.stage.host.command(*words)

    def start(self, *words, **options):
        return Program(self.command(*words), **options)

    @contextlib.contextmanager
    def running(self, *words, **options):
        self.program = program = self.start(*words, **options)
        try:
            yield program
        except BaseException:
            print(f"{words[0]} on {self.name}:\n{program.output}", file=sys.stderr)
            raise
        finally:
            program.stop()

    def run(self, *words, check=True, **options):
        """What it says, when it has ended."""
        options.setdefault("timeout", SECONDS)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def bound(self, port, least=1):
        """Waits until so many sockets have this local port, or the program has ended."""
        eventually(lambda: self.ports().count(port) >= least or self.program.process.poll() is not None,
                   f"port {port} on {self.name}", SECONDS)
        if self.program.process.poll() is not None:
            raise AssertionError(f"it ended with {self.program.process.poll()}:\n{self.program.output}")

    def ports(self):
        """Local UDP ports, one for each socket."""
        if self.name == "kernel":
            lines = self.stage.host.run("ss", "-Hlunap").stdout.splitlines()
            return [int(re.search(r":(\d+)$", line.split()[3])[1]) for line in lines]
        return [int(re.search(r":(\d+)$", row["local"])[1]) for row in self.stage.world.server.rows("/skua/sockets")]


class Stage:
    def __init__(self):
        remove_leftovers()
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            folder = pathlib.Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="skua-programs-")))
            folder.chmod(0o755)
            self.attach = folder / "attach"
            self.world = World(Tap(), config=CONFIG.format(attach=self.attach), program=os.environ["SKUAD"])
            self._open.callback(self.world.close)
            self.world.directory.chmod(0o755)
            self.peer = self.world.peer
            self.host = Namespace()
            self._open.callback(self.host.close)
            self._cable()
            undo.pop_all()

    def close(self):
        self._open.close()

    def _cable(self):
        peer, host = self.peer, self.host
        peer.ip("link", "add", "veth0", "type", "veth", "peer", "name", "host0", "netns", host.name)
        for n in (peer, host):
            n.sysctl(**{"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,
                        "net.ipv4.ip_unprivileged_port_start": 0})
        host.add_addresses("host0", f"{HOST4}/24", f"{HOST6}/64")
        host.ip("link", "set", "host0", "up")
        peer.ip("link", "set", "veth0", "up")
        peer.sysctl(**{"net.ipv4.conf.skua0.rp_filter": 0, "net.ipv4.conf.veth0.rp_filter": 0})
        for family, host_address, peer_address in (("-4", HOST4, PEER4), ("-6", HOST6, PEER6)):
            if family == "-6":
                # The kernel would otherwise answer at neither link for the address of the other.
                peer.ip("address", "add", f"{PEER6}/128", "dev", "veth0", "nodad")
            peer.ip(family, "route", "add", host_address, "dev", "veth0", "src", peer_address)
            peer.ip(family, "route", "add", host_address, "dev", "skua0", "src", peer_address, "table", 100)

    def lead_to(self, name):
        """All but TCP goes to the kernel of the host, or to skuad."""
        for family, host_address in (("-4", HOST4), ("-6", HOST6)):
            rule = [family, "rule", "delete", "pref", "10"]
            self.peer.run("ip", *rule, check=False)
            if name == "skua":
                self.peer.ip(family, "rule", "add", "pref", "10", "not", "ipproto", "tcp", "to", host_address, "lookup",
                             100)

    @contextlib.contextmanager
    def side(self, name):
        """The host with its UDP at the kernel or at skua; that it is there, is looked at in the end."""
        self.lead_to(name)
        before = self.through_skua()
        made = Side(self, name)
        yield made
        moved = [now - then for now, then in zip(self.through_skua(), before)]
        if (name == "skua") != (min(moved) > 0):
            raise AssertionError(f"{name}: {moved} datagrams through skuad")

    def through_skua(self):
        """UDP datagrams, in and out."""
        mib = self.world.server.mib()
        return [sum(mib[f"{v}{what}"] for v in ("Udp", "Udp6")) for what in ("InDatagrams", "OutDatagrams")]
