"""A virtual machine with a small guest of our own: Debian's kernel, busybox, our programs and what they need.

Emulated (TCG), without /dev/kvm: it boots to a shell in a few seconds. On its first serial line the kernel speaks (a
file), on the second is the shell.
"""
import glob
import os
import pathlib
import re
import select
import shutil
import socket
import stat
import subprocess
import tempfile
import time

CACHE = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "nic"  # as support/machine.py unpacks it
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PATIENCE = 90  # seconds; machines that emulate are slow, and may be busy

# DPDK's drivers that a device of the table may want, and the kernel's modules in the order of loading.
DRIVERS = ["bus_pci", "bus_vdev", "mempool_ring", "net_e1000", "net_virtio", "net_tap"]
MODULES = {
    "uio": ["uio", "uio_pci_generic"],
    "vfio": ["irqbypass", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"],
    "tap": ["tun", "sch_ingress", "sch_multiq", "cls_flower", "cls_bpf", "act_skbedit", "act_mirred", "act_gact",
            "act_bpf"],
}

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mkdir -p /proc /sys /dev /tmp /var/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/hugepages
mount -t hugetlbfs none /dev/hugepages
ip link set lo up
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
echo up
while read -r line; do eval "$line"; done
"""


class Archive:
    """An initramfs: a cpio archive (newc). Files keep their paths, links stay links."""

    def __init__(self):
        self._entries = {".": (b"", 0o040755)}

    def add(self, name, data, mode=0o100755):
        path = pathlib.PurePosixPath(name)
        for parent in reversed(path.parents):
            if str(parent) not in ("/", "."):
                self._entries.setdefault(str(parent), (b"", 0o040755))
        self._entries[str(path)] = (data if isinstance(data, bytes) else data.encode(), mode)

    def copy(self, path, to=None):
        """A file of this machine, with every link on the way to it."""
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if os.path.islink(path) and to is None:
            self.add(path, os.readlink(path), stat.S_IFLNK | 0o777)
            return self.copy(os.path.join(os.path.dirname(path), os.readlink(path)))
        return self.add(to or path, pathlib.Path(path).read_bytes())

    def copy_program(self, path, to=None):
        """With the libraries that it is linked with."""
        self.copy(path, to)
        for line in subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout.splitlines():
            if match := re.search(r"(?:=> )?(/\S+) \(", line):
                self.copy(match[1])

    def write(self, to):
        with open(to, "wb") as out:
            for number, (name, (data, mode)) in enumerate([*self._entries.items(), ("TRAILER!!!", (b"", 0))], 1):
                plain = name.lstrip("/").encode() + b"\0"
                fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(plain), 0)
                head = b"070701" + b"".join(b"%08X" % f for f in fields) + plain
                out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


def kernel():
    return next(iter(sorted(glob.glob(str(CACHE / "boot/vmlinuz-*")))), None)


def make_image(to, programs):
    """`programs`: paths on this machine, in /bin of the guest by their names."""
    image = Archive()
    image.add("/init", INIT)
    image.copy(shutil.which("busybox"), "/bin/busybox")
    for program in [*programs, shutil.which("tc", path="/usr/sbin:/sbin:/usr/bin")]:
        image.copy_program(program, f"/bin/{os.path.basename(program)}")
    for driver in DRIVERS:
        for path in glob.glob(f"{LIBRARIES}/dpdk/pmds-*/librte_{driver}.so*"):
            image.copy_program(path)
    # Libraries are where the programs' loader looks without a cache of names.
    image.add("/lib", "usr/lib", stat.S_IFLNK | 0o777)
    image.add("/lib64", "usr/lib64", stat.S_IFLNK | 0o777)
    for module in sorted({m for names in MODULES.values() for m in names}):
        for path in glob.glob(str(CACHE / f"lib/modules/*/kernel/**/{module}.ko"), recursive=True):
            image.add(f"/modules/{module}.ko", pathlib.Path(path).read_bytes())
    image.write(to)


class Qemu:
    """The newest QEMU that there is."""

    def __init__(self):
        unpacked = CACHE / "usr/bin/qemu-system-x86_64"
        share = CACHE / "usr/share"
        self.command = ["qemu-system-x86_64"]
        if unpacked.exists() and subprocess.run([unpacked, "--version"], capture_output=True).returncode == 0:
            self.command = [str(unpacked), "-L", str(share / "qemu"), "-L", str(share / "seabios")]
        said = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = int(re.search(r"version (\d+)", said)[1])


class Guest:
    """A running machine. `words`: QEMU's, for the device; `fds` are handed on to it."""

    def __init__(self, qemu, image, words, fds=(), boot=""):
        self._folder = tempfile.TemporaryDirectory(prefix="skua-nic-")
        folder = pathlib.Path(self._folder.name)
        self.console = folder / "console"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "shell"))
            listener.listen(1)
            listener.settimeout(PATIENCE)
            self._errors = open(folder / "errors", "w+b")
            self._process = subprocess.Popen(
                [*qemu.command, "-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-m", "640",
                 "-smp", "2", "-no-reboot", "-display", "none", "-nodefaults", "-serial", f"file:{self.console}",
                 "-chardev", f"socket,id=shell,path={folder / 'shell'}", "-serial", "chardev:shell",
                 "-kernel", kernel(), "-initrd", str(image), "-append",
                 f"console=ttyS0 quiet panic=-1 mitigations=off nokaslr hugepages=112 {boot}", *words],
                stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, pass_fds=fds)
            try:
                self._shell, _ = listener.accept()
                self._said = ""
                self.wait("up\n")
            except BaseException:
                self.close()
                raise

    def close(self):
        self._process.kill()
        self._process.wait()
        self._errors.close()
        if hasattr(self, "_shell"):
            self._shell.close()
        self._folder.cleanup()

    def _receive(self, seconds):
        if not select.select([self._shell], [], [], seconds)[0]:
            return
        data = self._shell.recv(65536)
        if not data:
            self._errors.seek(0)
            raise AssertionError(f"the machine has ended: {self._errors.read().decode()}\n{self.last_words()}")
        self._said += data.decode(errors="replace").replace("\r", "")

    def last_words(self):
        console = self.console.read_text(errors="replace") if self.console.exists() else ""
        return f"{self._said[-3000:]}\n-- console:\n{console[-2000:]}"

    def wait(self, pattern, seconds=PATIENCE):
        """What was said up to the end of the pattern."""
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self._said, re.MULTILINE)):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {pattern}\n{self.last_words()}")
            self._receive(0.2)
        said, self._said = self._said[:match.end()], self._said[match.end():]
        return said

    def run(self, command, check=True):
        """Of the guest's shell; its output."""
        self._shell.sendall(f"{{ {command}; }}; echo @ $?\n".encode())
        said = self.wait(r"^@ \d+\n")
        output, _, code = said.rpartition("@ ")
        if check and int(code) != 0:
            raise AssertionError(f"{command}: exit code {int(code)}\n{output}\n{self.last_words()}")
        return output

    # ---- of nic-guest, which takes the shell's place until it ends ----

    def start(self, arguments):
        self._shell.sendall(f"nic_guest {arguments}\n".encode())
        return self._answer()

    def order(self, line):
        """A command of nic-guest's; its answer."""
        self.begin(line)
        return self._answer()

    def begin(self, line):
        self._shell.sendall(f"{line}\n".encode())

    def answered(self):
        """The answer to begin(), or None: there is none yet."""
        self._receive(0)
        return self._answer() if re.search(r"^= .*\n", self._said, re.MULTILINE) else None

    def _answer(self):
        said, _, verdict = self.wait(r"^= .*\n").rpartition("= ")
        if verdict.strip() != "ok":
            raise AssertionError(f"{verdict.strip()}\n{said}\n{self.last_words()}")
        return said

    def quit(self):
        self.order("quit")
        self.run("true")

    def load(self, which):
        for module in MODULES[which]:
            self.run(f"insmod /modules/{module}.ko")
