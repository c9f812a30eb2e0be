"""What a machine must offer for a suite: each function returns None if it does, or why not."""
import os
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


def qemu():
    return None if shutil.which("qemu-system-x86_64") else "needs qemu-system-x86_64"
