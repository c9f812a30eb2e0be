"""skuad: ready, a configuration read anew under traffic, the end. The service manager is the test."""
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from world import SERVER4, SERVER6, Tap, World, WorldTest, eventually

OTHER4, OTHER6 = "198.18.0.9", "2001:db8::9"
FAR = "203.0.113.7"

CONFIG = """
[[port]]
device = "net_tap0"
name = "skua0"
addresses = {addresses}
"""
ROUTE = """
[[route]]
to = "203.0.113.0/24"
via = "198.18.0.2"
"""


class Manager:
    """What systemd's notification socket is for a service."""

    def __init__(self, directory):
        self.path = str(pathlib.Path(directory) / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(30)

    def next(self):
        """Keys and values of the next message."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())


class DaemonTest(WorldTest):
    @classmethod
    def make_world(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="skua-daemon-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.manager = Manager(cls.directory.name)
        cls.addClassCleanup(cls.manager.socket.close)
        made = World(Tap(), config=cls.config([f"{SERVER4}/24", f"{SERVER6}/64"]), program=os.environ["SKUAD"],
                     environment={"NOTIFY_SOCKET": cls.manager.path})
        cls.first = cls.manager.next()
        return made

    @staticmethod
    def config(addresses, more=""):
        return CONFIG.format(addresses="[" + ", ".join(f'"{a}"' for a in addresses) + "]") + more

    def setUp(self):
        self.reload(self.config([f"{SERVER4}/24", f"{SERVER6}/64"]))

    def reload(self, text):
        """What it says about it."""
        before = len(self.world.server.output)
        (self.world.directory / "skua.toml").write_text(text)
        self.world.server.process.send_signal(signal.SIGHUP)
        self.assertEqual(self.manager.next()["RELOADING"], "1")
        self.assertEqual(self.manager.next(), {"READY": "1"})
        return eventually(lambda: self.world.server.output[before:], "a word about it")

    def assert_no_ping(self, to):
        done = self.world.peer.run("ping", "-c", 1, "-W", 1, to, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)

    def test_tells_that_it_is_ready(self):
        self.assertEqual(self.first, {"READY": "1"})

    def test_addresses_change_under_traffic(self):
        self.assert_ping(SERVER4)
        self.assert_no_ping(OTHER4)
        ping = ["ping", "-i", "0.01", "-c", "300", "-q", SERVER6]
        flood = self.world.peer.start(*ping, stdout=subprocess.PIPE, text=True)
        told = self.reload(self.config([f"{OTHER4}/24", f"{SERVER6}/64", f"{OTHER6}/64"]))
        self.assertIn("configuration applied", told)
        self.assert_ping(OTHER4)
        self.assert_no_ping(SERVER4)
        eventually(lambda: self.world.ping(OTHER6).returncode == 0, "the new address, once it is known to be unique")
        self.assertIn(" 0% packet loss", flood.communicate(timeout=30)[0])

    def test_routes_change(self):
        self.world.peer.ip("addr", "add", f"{FAR}/32", "dev", "lo")
        try:
            ping = ["ping", "-c", 1, "-W", 1, "-I", FAR, SERVER4]
            self.assertNotEqual(self.world.peer.run(*ping, check=False).returncode, 0)
            self.reload(self.config([f"{SERVER4}/24"], ROUTE))
            self.assertEqual(self.world.peer.run(*ping, check=False).returncode, 0)
        finally:
            self.world.peer.ip("addr", "del", f"{FAR}/32", "dev", "lo")

    def test_a_bad_file_changes_nothing(self):
        for text, why in (
            (self.config(["198.18.0.1/33"]), "addresses"),
            ("[[port]", "skua.toml:1"),
            (self.config([f"{SERVER4}/24"], "[stack]\nshards = 2"), "only a restart can change stack"),
            (self.config([f"{SERVER4}/24"], "[pool]\npackets = 9000"), "only a restart can change pool"),
        ):
            with self.subTest(why):
                told = self.reload(text)
                self.assertIn("the old configuration stays", told)
                self.assertIn(why, told)
                self.assert_ping(SERVER4)
                self.assert_ping(SERVER6)

    def test_a_file_that_is_gone_changes_nothing(self):
        (self.world.directory / "skua.toml").unlink()
        self.world.server.process.send_signal(signal.SIGHUP)
        self.manager.next(), self.manager.next()
        eventually(lambda: "the old configuration stays" in self.world.server.output, "a word about it")
        self.assert_ping(SERVER4)


class EndTest(unittest.TestCase):
    def test_signals_end_it(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), tempfile.TemporaryDirectory() as directory:
                manager = Manager(directory)
                world = World(Tap(), program=os.environ["SKUAD"], environment={"NOTIFY_SOCKET": manager.path})
                try:
                    self.assertEqual(manager.next(), {"READY": "1"})
                    begin = time.monotonic()
                    self.assertEqual(world.server.stop(number), 0)
                    self.assertEqual(manager.next(), {"STOPPING": "1"})
                    self.assertLess(time.monotonic() - begin, 10)
                finally:
                    world.close()
                    manager.socket.close()


if __name__ == "__main__":
    unittest.main()
