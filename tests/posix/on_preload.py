"""The kernel's POSIX tests, the same binary, on a daemon without ports: on_preload.py TESTS [ARGUMENTS]."""
import os
import subprocess
import sys
import tempfile


def main():
    with tempfile.TemporaryDirectory(prefix="skua-preload-") as directory:
        attach = f"{directory}/attach"
        daemon = subprocess.Popen(
            [os.environ["SKUAD"], "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "512",
             "--log-level=error", f"--file-prefix=skua-test-{os.getpid()}", "--", "--idle", "yield", "--attach-path",
             attach],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            for line in daemon.stdout:
                if line == "ready\n":
                    break
            tests = subprocess.run([os.environ["SKUA"], "run", "--attach", attach, *sys.argv[1:]],
                                   env={**os.environ, "SKUA_TESTS_ON_SKUA": "1"})
        finally:
            daemon.terminate()
            ended = daemon.wait()
    if ended != 0:
        print(f"the daemon ended with {ended}", file=sys.stderr)
    return tests.returncode or ended


if __name__ == "__main__":
    sys.exit(main())
