"""Each program does the same on the kernel's sockets and on skua's, against a kernel peer: its results are the same."""
import contextlib
import json
import re
import socket
import subprocess
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
    def serve(self, server, says, wait_for=4, **more):
        """dig and dnsperf of the kernel ask a server on the host, when it has said that it is ready."""

        def work(side):
            directory = dns.prepare(side.directory)
            words = server(directory)
            with side.running(*words) as program:
                side.bound(53, wait_for)
                program.says(says)
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
        self.serve(dns.dnsmasq, "read ", wait_for=2)

    def test_knot(self):
        self.serve(dns.knot, "server started")

    def test_nsd(self):
        self.serve(dns.nsd, "nsd started")

    def test_unbound(self):
        """It asks the kernel's knot at the peer for the zone."""
        directory = dns.prepare(self.stage.world.directory)
        with self.at_peer(*dns.knot(directory, PEER4, PEER6)) as server:
            server.says("server started")
            self.serve(dns.unbound, "start of service", recurse=True)

    def test_named(self):
        self.serve(dns.named, "running\n")

    # ---- others ----
    def test_iperf3(self):
        """Its own TCP connection is the kernel's. On a busy machine the kernel's side loses datagrams too."""
        load = ["--udp", "--bitrate", "1M", "--length", 500, "--time", 1, "--json"]

        def work(side):
            results = []
            for more in ([], ["--reverse"]):
                with self.at_peer("iperf3", "--server", "--one-off", "--forceflush", "--bind", PEER4) as server:
                    server.says("listening")
                    text = side.run("iperf3", "--client", PEER4, *load, *more)
                    total = json.loads(text)["end"]["sum"]
                    results.append((total["packets"] > 200, total["lost_packets"] < 125))
            with side.running("iperf3", "--server", "--one-off", "--forceflush", "--bind", HOST4) as server:
                server.says("listening")
                text = self.ask_peer("iperf3", "--client", HOST4, *load)
                total = json.loads(text)["end"]["sum"]
                results.append((total["packets"] > 200, total["lost_packets"] < 125))
            return results

        self.assertEqual(self.both(work), [(True, True)] * 3)

    def test_socat(self):
        """UDP-LISTEN,fork: a process for each of several peers, which talk to it in turns."""
        def work(side):
            answers = []
            with contextlib.ExitStack() as open_now:
                open_now.enter_context(
                    side.running("socat", "UDP4-LISTEN:7003,fork,reuseaddr", "EXEC:sed -u s/peer/answer/"))
                side.bound(7003)
                for i in range(4):
                    answers.append(self.ask_peer("socat", "-t", 1, "-", f"UDP4:{HOST4}:7003",
                                                 input=f"peer {i}\n"))
            return answers

        self.assertEqual(self.both(work), [f"answer {i}\n" for i in range(4)])

    def test_memcached(self):
        """One socket, duplicated for each of four threads."""
        def work(side):
            answers = []
            with side.running("memcached", "-u", "root", "-U", 11211, "-l", HOST4, "-t", 4, "-p", 11211):
                side.bound(11211, 1)
                with self.stage.peer.socket() as s:
                    s.connect((HOST4, 11211))
                    s.settimeout(5)
                    for i in range(200):
                        # A frame of memcached's: request, number, of how many, reserved.
                        head = i.to_bytes(2, "big") + b"\0\0\0\1\0\0"
                        command = f"set k{i} 0 0 5\r\nv{i:04}" if i % 2 == 0 else f"get k{i - 1}"
                        s.send(head + command.encode() + b"\r\n")
                        answers.append(s.recv(2048))
            return answers

        self.assertIn(b"VALUE k198 0 5\r\nv0198", self.both(work)[-1])

    def test_tftp(self):
        """A server that forks, leaves for a directory of its own by chroot and answers from a port of its own."""
        def work(side):
            folder = side.directory / "files"
            folder.mkdir(mode=0o777)
            (folder / "big").write_bytes(bytes(range(256)) * 400)
            (folder / "big").chmod(0o666)
            (folder / "new").write_bytes(b"")
            (folder / "new").chmod(0o666)
            with side.running("in.tftpd", "--listen", "--foreground", "--secure", "--address", f"{HOST4}:69", folder):
                side.bound(69)
                got = side.directory / "got"
                self.ask_peer("tftp", "-m", "binary", HOST4, "-c", "get", "big", got)
                self.ask_peer("tftp", "-m", "binary", HOST4, "-c", "put", got, "new")
                eventually(lambda: (folder / "new").stat().st_size == got.stat().st_size, "the file", 10)
                return [got.read_bytes(), (folder / "new").read_bytes()]

        self.assertEqual(len(self.both(work)[0]), 102400)

    def test_tftp_client(self):
        """It blocks in recvfrom, and SIGALRM takes it out."""
        def work(side):
            folder = side.directory / "files"
            folder.mkdir()
            folder.chmod(0o755)
            (folder / "big").write_bytes(bytes(range(256)) * 400)
            got = side.directory / "got"
            with self.at_peer("in.tftpd", "--listen", "--foreground", "--secure", "--address", f"{PEER4}:69", folder):
                eventually(lambda: ":69 " in self.ask_peer("ss", "-Hlun"), "the peer's tftpd")
                said = side.run("tftp", "-m", "binary", PEER4, "-c", "get", "big", got)
            return [said.replace(str(got), ""), got.read_bytes()]

        self.both(work)

    def test_sockperf(self):
        """Ping-pong both ways; an alarm ends the run, and nothing is lost."""
        def work(side):
            lost = []
            for kind in ([], ["--iomux-type", "epoll"]):
                listed = side.directory / "feed"
                listed.write_text(f"U:{HOST4}:11111\n")
                file = ["-f", listed, "-F", "e"] if kind else ["-i", HOST4, "-p", 11111]
                with side.running("sockperf", "server", *file):
                    side.bound(11111)
                    text = self.ask_peer("sockperf", "ping-pong", "-i", HOST4, "-p", 11111, "-t", 1)
                    lost.append(re.search(r"# dropped messages = (\d+)", text)[1])
            with self.at_peer("sockperf", "server", "-i", PEER4, "-p", 11111):
                eventually(lambda: ":11111" in self.ask_peer("ss", "-Hlun"), "the peer's sockperf")
                text = side.run("sockperf", "ping-pong", "-i", PEER4, "-p", 11111, "-t", 1)
                lost.append(re.search(r"# dropped messages = (\d+)", text)[1])
            return lost

        self.assertEqual(self.both(work), ["0", "0", "0"])

    # ---- languages ----
    def talk(self, port, family=socket.AF_INET, host=HOST4, count=300):
        """Datagrams of all sizes to an echo server; what came back."""
        with self.stage.peer.socket(family) as s:
            s.connect((host, port))
            s.settimeout(5)
            back = []
            for i in range(count):
                s.send(bytes([i % 256]) * (i * 11 % 1400 + 1))
                back.append(s.recv(2048))
            return back

    def test_node(self):
        program = """
const dgram = require('dgram');
for (const [type, address] of [['udp4', '198.18.0.1'], ['udp6', '2001:db8::1']]) {
  const s = dgram.createSocket(type);
  s.on('message', (m, from) => s.send(m, from.port, from.address));
  s.bind(7004, address);
}
const c = dgram.createSocket('udp4');
c.on('message', m => { console.log('answer ' + m); c.close(); });
c.send('question', 7005, '198.18.0.2');
"""

        def work(side):
            with self.stage.peer.socket() as s:
                s.bind((PEER4, 7005))
                s.settimeout(10)
                with side.running("node", "-e", program) as node:
                    question, client = s.recvfrom(100)
                    s.sendto(question.upper(), client)
                    node.says("answer QUESTION")
                    side.bound(7004, 2)
                    return [self.talk(7004), self.talk(7004, socket.AF_INET6, HOST6)]

        self.both(work)

    def test_asyncio(self):
        program = """
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, address): self.transport.sendto(data, address)
async def main():
    loop = asyncio.get_running_loop()
    for address in ('198.18.0.1', '2001:db8::1'):
        await loop.create_datagram_endpoint(Echo, local_addr=(address, 7006))
    await asyncio.sleep(60)
asyncio.run(main())
"""

        def work(side):
            with side.running("/usr/bin/python3", "-c", program):
                side.bound(7006, 2)
                return [self.talk(7006), self.talk(7006, socket.AF_INET6, HOST6)]

        self.both(work)

    def test_cpython(self):
        """CPython's own tests of UDP, on the loopback of either side: each passes or is left out on both."""
        modules = ["test.test_socket", "test.test_socketserver", "test.test_asyncio.test_events",
                   "test.test_asyncio.test_sock_lowlevel"]

        def work(side):
            text = side.run("/usr/bin/python3", "-m", "unittest", "-v", "-k", "UDP", "-k", "datagram", *modules,
                            timeout=60)
            return sorted(re.findall(r"^test\w* \((\S+)\)\n?.*\.\.\. (ok|skipped)", text, re.MULTILINE))

        self.assertGreater([how for _, how in self.both(work)].count("ok"), 100)
