"""What a machine must offer for a suite: each function returns None if it does, or why not."""
import os
import pathlib
import shutil
import subprocess


def root():
    return None if os.geteuid() == 0 else "needs root"


def network_namespace():
    made = subprocess.run(["unshare", "--net", "true"], stdin=subprocess.DEVNULL, capture_output=True)
    return None if made.returncode == 0 else "this machine lets nobody make a network namespace"


def tun():
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as e:
        return f"/dev/net/tun: {e.strerror}"
    return None


def kvm():
    return None if os.access("/dev/kvm", os.R_OK | os.W_OK) else "needs /dev/kvm"


def guest_kernel():
    """Debian's kernel, and a QEMU newer than Debian's own: unpacked for the suite nic, not installed."""
    root = pathlib.Path(__file__).resolve().parents[2]
    unpacked = root / ".cache" / "nic"
    said = subprocess.run([root / "apps" / "install", "--unpack", unpacked, "nic-unpacked"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True).stderr
    if list((unpacked / "boot").glob("vmlinuz-*")):
        return None
    return "no kernel for a virtual machine: " + (said.strip().splitlines() or ["apps/install said nothing"])[0]


def qemu():
    return None if shutil.which("qemu-system-x86_64") else "needs qemu-system-x86_64"
