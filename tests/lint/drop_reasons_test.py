"""Each drop reason has a row that explains it and a test that reaches it."""
import re
import unittest

import tree

NAME = r"(?:skua::)?drop_reason::\w+"
# Rows of a list, and counters raised by hand, reach nothing.
NO_EXPECTATION = re.compile(rf"^[\s{{(]*{NAME}\s*,(?:\s*{NAME}\s*,?)*[\s}})]*;?\s*(?://.*)?$|\.add\({NAME}")


def reasons():
    header = tree.text("stack/base/drop_reason.hh")
    body = re.search(r"enum class drop_reason[^{]*\{(.*?)\};", header, re.DOTALL).group(1)
    names = re.findall(r"^\s*(\w+)\s*(?:=[^,]*)?,", re.sub(r"//.*", "", body), re.MULTILINE)
    return [n for n in names if n not in ("none", "count_")]


def tested():
    """The reasons that a test names where it may expect something."""
    found = set()
    for name in tree.cpp_files():
        if name.stem.endswith("_test") or (name.parts[0] == "tests" and name.suffix == ".cc"):
            for line in tree.lines(name):
                if not NO_EXPECTATION.search(line):
                    found |= set(re.findall(r"\bdrop_reason::(\w+)", line))
    return found


class DropReasons(unittest.TestCase):
    def test_the_enumeration_is_found(self):
        self.assertGreater(len(reasons()), 40)

    def test_each_has_a_row(self):
        row = r'\{\s*drop_reason::(\w+)\s*,\s*"\w+"\s*,\s*"([^"]*)"'
        rows = dict(re.findall(row, tree.text("stack/base/drop_reason.cc")))
        if wrong := [r for r in reasons() if not rows.get(r)]:
            self.fail(f"without a row in stack/base/drop_reason.cc: {', '.join(wrong)}")

    def test_each_is_reached_by_a_test(self):
        reached = tested()
        if missing := [r for r in reasons() if r not in reached]:
            self.fail("\nno test (a *_test.cc, or a .cc in tests/) expects\n"
                      + "\n".join(f"drop_reason::{r}" for r in missing))


if __name__ == "__main__":
    unittest.main()
