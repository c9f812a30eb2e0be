"""Each program does the same on the kernel's sockets and on skua's, against a kernel peer: its results are the same."""
import contextlib
import re
import subprocess
import time
import unittest

import dns
from stage import HOST4, HOST6, PEER4, PEER6, Program, Stage, eventually


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = Stage()
        cls.addClassCleanup(cls.stage.close)

    def both(self, work):
        """What `work` gives on skua must be what it gives on the kernel."""
        results = {}
        for name in ("kernel", "skua"):
            with self.stage.side(name) as side:
                results[name] = work(side)
        self.assertEqual(results["skua"], results["kernel"])
        return results["kernel"]

    @contextlib.contextmanager
    def at_peer(self, *words, **options):
        program = Program(self.stage.peer.command(*words), **options)
        try:
            yield program
        finally:
            program.stop()

    def ask_peer(self, *words, **options):
        return self.stage.peer.run(*words, **options).stdout

    # ---- netcat ----
    def test_netcat(self):
        def work(side):
            answers = []
            for host, peer in ((HOST4, PEER4), (HOST6, PEER6)):
                with side.running("nc", "-u", "-l", host, 7001, stdin=subprocess.PIPE) as server:
                    side.bound(7001)
                    with self.at_peer("nc", "-u", host, 7001, stdin=subprocess.PIPE) as client:
                        for i in range(3):
                            client.process.stdin.write(f"question {i}\n")
                            client.process.stdin.flush()
                            server.says(f"question {i}")
                            server.process.stdin.write(f"answer {i}\n")
                            server.process.stdin.flush()
                            answers.append(client.says(f"answer {i}"))
                with self.at_peer("nc", "-u", "-l", peer, 7002) as server:
                    eventually(lambda: ":7002" in self.ask_peer("ss", "-Hlun"), "the peer's nc")
                    side.run("nc", "-u", "-w", 1, peer, 7002, input="hello\n")
                    answers.append(server.says("hello"))
            return answers

        self.both(work)

    # ---- DNS ----
    def serve(self, server, wait_for=4, **more):
        """dig and dnsperf of the kernel ask a server on the host."""

        def work(side):
            directory = dns.prepare(side.directory)
            words = server(directory)
            with side.running(*words):
                side.bound(53, wait_for)
                return dns.questions(self.ask_peer, (HOST4, HOST6), directory, **more)

        result = self.both(work)
        self.assertIn("203.0.113.7", result["digs"][0])
        for load in result["load"]:
            self.assertEqual(load["lost"], "0")

    def query(self, ask):
        """A client on the host asks the kernel's knot at the peer."""
        directory = dns.prepare(self.stage.world.directory)
        with self.at_peer(*dns.knot(directory, PEER4, PEER6)) as server:
            server.says("server started")
            return self.both(lambda side: [ask(side.run, s) for s in (PEER4, PEER6)])

    def test_dig(self):
        answers = self.query(lambda run, s: [dns.ask(run, s, *q) for q in dns.DIGS])
        self.assertIn("203.0.113.7", answers[0][0])

    def test_dnsperf(self):
        for load in self.query(lambda run, s: dns.load(run, s, self.stage.world.directory)):
            self.assertEqual(load["lost"], "0")

    def test_dnsmasq(self):
        self.serve(dns.dnsmasq, wait_for=2)

    def test_knot(self):
        self.serve(dns.knot)

    def test_unbound(self):
        """It asks the kernel's knot at the peer for the zone."""
        directory = dns.prepare(self.stage.world.directory)
        with self.at_peer(*dns.knot(directory, PEER4, PEER6)) as server:
            server.says("server started")
            self.serve(dns.unbound, recurse=True)

    def test_named(self):
        self.serve(dns.named)
