"""The committed reference of the configuration is the one that the code prints. Argument: the build directory."""
import difflib
import pathlib
import subprocess
import sys
import unittest

import tree

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tree.ROOT / "build")
REFERENCE = "stack/control/CONFIGURATION.md"


class Configuration(unittest.TestCase):
    def test_the_reference_is_up_to_date(self):
        program = BUILD / "tests/lint/config-reference"
        printed = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
        path = tree.ROOT / REFERENCE
        committed = path.read_text() if path.exists() else ""
        if printed != committed:
            change = difflib.unified_diff(committed.splitlines(), printed.splitlines(), REFERENCE, "printed",
                                          lineterm="")
            renew = f"{program.relative_to(BUILD.parent)} > {REFERENCE}"
            self.fail(f"out of date; to renew it: {renew}\n" + "\n".join(change))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
