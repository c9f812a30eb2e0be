"""The README's TAP example: its very lines are run, and say what they should."""
import os
import pathlib
import time
import unittest

import world
from world import Namespace, eventually

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"

START = "./skua-echo --no-pci --vdev=net_tap0,iface=skua0 -- --port net_tap0,name=skua0 --address 198.18.0.1/24 &"
ADDRESS = "ip address add 198.18.0.2/24 dev skua0"
PING = "ping -c 3 198.18.0.1"
NC = "echo hello | nc -u -w 1 198.18.0.1 7"
SOCAT = "echo hello | socat -t 1 - UDP:198.18.0.1:7"
# A query as dig sends it; the echo is the query itself.
DIG = "dig +time=5 +tries=1 -p 7 @198.18.0.1 example.com"


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        self.here = Namespace()
        self.addCleanup(self.here.close)

    def test_readme_has_these_lines(self):
        lines = [line.lstrip("#$ ") for line in README.read_text().splitlines()]
        self.assertEqual([line for line in (START, ADDRESS, PING, NC) if line not in lines], [], "missing in README.md")

    def test_lines_work(self):
        program = pathlib.Path(world.server_program())
        # A prefix of its own is what the server gives itself; its end is asked for by its id.
        server = self.here.shell(f"{START.removesuffix('&')} >log 2>&1 & echo $!", cwd=self.scratch(program))
        pid = int(server.stdout)
        self.addCleanup(self.end, pid)
        eventually(lambda: "ready\n" in (self.directory / "log").read_text(), "ready")
        self.here.shell(ADDRESS)
        self.assertIn("3 received, 0% packet loss", self.here.shell(PING).stdout)
        self.assertEqual(self.here.shell(NC).stdout, "hello\n")
        self.assertEqual(self.here.shell(SOCAT).stdout, "hello\n")
        self.assertIn("example.com", self.here.shell(DIG, check=False).stdout)

    def scratch(self, program):
        import tempfile

        scratch = tempfile.TemporaryDirectory(prefix="skua-system-")
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name)
        (self.directory / "skua-echo").symlink_to(program)
        return self.directory

    def end(self, pid):
        os.kill(pid, 15)
        eventually(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the end of the server")


if __name__ == "__main__":
    unittest.main()
