"""The service manager keeps what a skuad has for its next start. The manager is the test; the program is Python's own
sockets under the preload."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = """
import os, select, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(server.getsockname())
epoll = select.epoll()
epoll.register(server, select.EPOLLIN | select.EPOLLRDHUP)
count = 0
while True:
    client.send(b"%d" % count)
    for fd, events in epoll.poll(0.05):
        if events != select.EPOLLIN:
            sys.exit("events %#x" % events)
        server.recv(64)
        count += 1
        print(count, flush=True)
"""


class Manager:
    """What a service sends to systemd: states, and descriptors to keep."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.kept = {}  # name -> descriptors
        self.ready = threading.Event()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.socket, 4096, 16)
            said = dict(line.split("=", 1) for line in text.decode().splitlines())
            if said.get("FDSTORE"):
                assert said["FDPOLL"] == "0"
                self.kept.setdefault(said["FDNAME"], []).extend(fds)
            elif said.get("FDSTOREREMOVE"):
                for fd in self.kept.pop(said["FDNAME"], []):
                    os.close(fd)
            if said.get("READY"):
                self.ready.set()

    def start(self, arguments):
        """A service that gets what was kept as sd_listen_fds(3) has it. Its process id."""
        self.ready.clear()
        passed = [(name, fd) for name, fds in self.kept.items() for fd in fds]
        child = os.fork()
        if child == 0:
            aside = [os.dup(fd) for _, fd in passed]
            high = [os.dup2(fd, 200 + i) for i, fd in enumerate(aside)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i, inheritable=True)
            os.closerange(3 + len(high), 1024)
            environment = dict(os.environ, NOTIFY_SOCKET=self.path, LISTEN_PID=str(os.getpid()),
                               LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=":".join(name for name, _ in passed))
            os.execve(arguments[0], arguments, environment)
        if not self.ready.wait(30):
            raise AssertionError("the service does not get ready")
        return child


class DescriptorStore(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="skua-manager-")
        self.addCleanup(self.directory.cleanup)
        path = pathlib.Path(self.directory.name)
        self.manager = Manager(path)
        self.attach = str(path / "attach")
        self.arguments = [os.environ["SKUAD"], "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "512",
                          "--log-level=error", f"--file-prefix={path.name}", "--", "--idle", "yield", "--attach-path",
                          self.attach]
        self.daemon = self.manager.start(self.arguments)

    def tearDown(self):
        self.end(signal.SIGTERM)

    def end(self, how):
        os.kill(self.daemon, how)
        os.waitpid(self.daemon, 0)

    def test_a_program_goes_on_when_the_manager_starts_the_daemon_anew(self):
        environment = dict(os.environ, LD_PRELOAD=os.environ["SKUA_PRELOAD"], SKUA_ATTACH=self.attach)
        with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE,
                              text=True) as program:
            self.addCleanup(program.kill)
            for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                before = int(program.stdout.readline())
                self.assertEqual(sorted(map(len, self.manager.kept.values())), [1, 2, 2])  # ledger, bells and regions
                self.end(how)
                self.daemon = self.manager.start(self.arguments)
                until = time.monotonic() + 20
                while int(program.stdout.readline()) < before + 500:
                    self.assertLess(time.monotonic(), until)
                self.assertIsNone(program.poll())
            self.assertFalse(os.path.exists(self.attach + ".keeper"))  # nobody else keeps anything
            program.kill()
        until = time.monotonic() + 10
        while any(name != "ledger" for name in self.manager.kept) and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(list(self.manager.kept), ["ledger"])


if __name__ == "__main__":
    unittest.main()
