"""Unmodified programs on the sockets of skuad, the kernel on the other side of a TAP port."""
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from world import PEER4, PEER6, SERVER4, SERVER6, Tap, World, WorldTest, eventually

PYTHON = "/usr/bin/python3"

BLOCKING_SERVER = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 5010))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data.upper(), peer)
"""

SELECTORS_SERVER = """
import selectors, socket
with selectors.DefaultSelector() as waiting:
    for family, address in ((socket.AF_INET, "{SERVER4}"), (socket.AF_INET6, "{SERVER6}")):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.setblocking(False)
        s.bind((address, 5010))
        waiting.register(s, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            data, peer = key.fileobj.recvfrom(65536)
            key.fileobj.sendto(data.upper(), peer)
""".replace("{SERVER4}", SERVER4).replace("{SERVER6}", SERVER6)

ASYNCIO_SERVER = """
import asyncio
class Upper(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, peer): self.transport.sendto(data.upper(), peer)
async def main():
    loop = asyncio.get_running_loop()
    for address in ("{SERVER4}", "{SERVER6}"):
        await loop.create_datagram_endpoint(Upper, (address, 5010))
    print("ready", flush=True)
    await asyncio.Future()
asyncio.run(main())
""".replace("{SERVER4}", SERVER4).replace("{SERVER6}", SERVER6)

FORKING_SERVER = """
import socket, socketserver
class Upper(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(self.request[0].upper(), self.client_address)
class Server(socketserver.ForkingUDPServer):
    max_packet_size = 65536
    address_family = socket.AF_INET6
with Server(("::", 5010), Upper) as s:
    print("ready", flush=True)
    s.serve_forever()
"""


class Names(threading.Thread):
    """A name server of the kernel's side: every name has the address 192.0.2.53."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.socket = s
        self.start()

    def run(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            end = query.index(b"\0", 12) + 5
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.53")
            self.socket.sendto(query[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0) + query[12:end] + answer, peer)


class RunTest(WorldTest):
    @classmethod
    def make_world(cls):
        directory = tempfile.TemporaryDirectory(prefix="skua-run-")
        cls.addClassCleanup(directory.cleanup)
        cls.attach = f"{directory.name}/attach"
        cls.log = pathlib.Path(directory.name) / "log"
        return World(Tap(), options=["--attach-path", cls.attach], program=os.environ["SKUAD"])

    def setUp(self):
        self.log.write_text("")

    def tearDown(self):
        # Whatever ran here ran on skua.
        self.assertRegex(self.log.read_text(), r"socket \d+: skua")

    def words(self, *words):
        return [os.environ["SKUA"], "run", "--attach", self.attach, "--log", self.log, *words]

    def start(self, *words, **more):
        made = self.world.peer.start(*self.words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     **more)
        self.addCleanup(self.end, made)
        return made

    @staticmethod
    def end(process):
        process.terminate()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()

    def bound_on_skua(self, port):
        return any(str(port) in str(row) for row in self.world.server.rows("/skua/sockets"))

    def test_netcat_sends(self):
        for address in (PEER4, PEER6):
            with self.subTest(address), self.world.peer.socket(
                    socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
                s.bind((address, 5000))
                done = self.world.peer.run(*self.words("nc", "-u", "-w", "1", address, 5000), input="hello\n")
                data, peer = s.recvfrom(100)
                self.assertEqual((data, peer[0]), (b"hello\n", SERVER6 if ":" in address else SERVER4), done.stderr)

    def test_netcat_listens(self):
        for address in (SERVER4, SERVER6):
            with self.subTest(address):
                server = self.start("nc", "-u", "-l", address, "5001")
                eventually(lambda: self.bound_on_skua(5001), "netcat listens")
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                with self.world.udp(family, to=address, port=5001) as s:
                    s.send(b"hello\n")
                    self.assertEqual(server.stdout.readline(), "hello\n")
                server.terminate()
                server.wait(30)
                eventually(lambda: not self.bound_on_skua(5001), "its socket ends with it")

    def serve(self, text, payloads=(b"hello", b"x" * 1400, b"y" * 30000, b"")):
        """A server in Python on both families, asked from the kernel's side."""
        server = self.start(PYTHON, "-c", text)
        self.assertEqual(server.stdout.readline(), "ready\n")
        for family in (socket.AF_INET, socket.AF_INET6):
            with self.world.udp(family, port=5010) as s:
                for payload in payloads:
                    s.send(payload)
                    self.assertEqual(s.recv(65536), payload.upper())

    def test_python_that_blocks(self):
        self.serve(BLOCKING_SERVER)

    def test_python_selectors(self):
        self.serve(SELECTORS_SERVER)

    def test_python_asyncio(self):
        self.serve(ASYNCIO_SERVER, (b"hello", b"y" * 30000))  # it sends no empty datagram

    def test_python_that_forks_for_each_request(self):
        self.serve(FORKING_SERVER)

    def test_python_is_told_that_nobody_listens(self):
        done = self.world.peer.run(*self.words(PYTHON, "-c", f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect(("{PEER4}", 5999))
s.send(b"x")
try: s.recv(1)
except ConnectionRefusedError: print("refused")
"""))
        self.assertEqual(done.stdout, "refused\n", done.stderr)

    def test_dig(self):
        for address in (PEER4, PEER6):
            with self.subTest(address), self.world.peer.socket(
                    socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
                s.settimeout(None)
                s.bind((address, 53))
                Names(s)
                done = self.world.peer.run(*self.words("dig", f"@{address}", "example.org", "+short"))
                self.assertEqual(done.stdout, "192.0.2.53\n", done.stderr)

    def test_socat_forks_for_each_peer(self):
        self.start("socat", "-T", "1", "UDP4-LISTEN:5002,fork,reuseaddr", "PIPE")
        eventually(lambda: self.bound_on_skua(5002), "socat listens")
        for _ in range(3):
            with self.world.udp(port=5002) as s:
                self.assert_echo(s, b"hello")
                self.assert_echo(s, b"again")


if __name__ == "__main__":
    unittest.main()
