"""What every file keeps to: it says what it is, its lines are short, its scripts are sound, it leaves nothing open."""
import re
import subprocess
import unittest

import tree

LONGEST_LINE = 120
LEFT_OPEN = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "XX" "X"]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w./$}~-])/(?:wo" r"rk|ro" r"ot|ho" r"me)/\w")
LONG_STRING = re.compile(r'"[^"]{40,}"')


def sources():
    return [n for n in tree.files() if n.suffix in tree.CPP or n.name == "meson.build"
            or n.suffix == ".toml" or tree.script_kind(n)]


def says_what_it_is(name):
    text = tree.text(name)
    if not text.strip():
        return True
    lines = text.split("\n")
    first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
    if name.suffix in tree.CPP:
        return first.startswith(("// ", "/* ", "/// "))
    if tree.script_kind(name) == "python":
        return first.startswith(('"""', "# "))
    return first.startswith("# ")


class Files(unittest.TestCase):
    def check(self, wrong):
        if wrong:
            self.fail("\n" + "\n".join(wrong))

    def test_the_first_line_says_what_a_file_is(self):
        self.check([f"{n}: no comment in the first line" for n in sources() if not says_what_it_is(n)])

    def test_lines_are_at_most_120_columns(self):
        # A message in one piece can be searched for: its line may be longer.
        self.check([f"{n}:{i}: {len(line)} columns" for n in sources() for i, line in enumerate(tree.lines(n), 1)
                    if len(line) > LONGEST_LINE and not LONG_STRING.search(line)])

    def test_no_line_ends_in_blanks(self):
        self.check([f"{n}:{i}: blanks at the end" for n in sources() for i, line in enumerate(tree.lines(n), 1)
                    if line != line.rstrip()])

    def test_nothing_is_left_open(self):
        self.check([f"{n}:{i}: {m.group(1)}" for n in tree.files() for i, line in enumerate(tree.lines(n), 1)
                    if (m := LEFT_OPEN.search(line))])

    def test_no_path_of_one_machine(self):
        self.check([f"{n}:{i}: {line.strip()}" for n in tree.files() for i, line in enumerate(tree.lines(n), 1)
                    if MACHINE_PATH.search(line)])

    def test_shell_scripts_parse(self):
        wrong = []
        for name in tree.files():
            if (kind := tree.script_kind(name)) in ("sh", "bash"):
                done = subprocess.run([kind, "-n", tree.ROOT / name], capture_output=True, text=True)
                if done.returncode != 0:
                    wrong.append(done.stderr.strip())
        self.check(wrong)

    def test_python_compiles(self):
        wrong = []
        for name in tree.files():
            if tree.script_kind(name) == "python":
                try:
                    compile(tree.text(name), name, "exec")
                except SyntaxError as e:
                    wrong.append(f"{name}:{e.lineno}: {e.msg}")
        self.check(wrong)


if __name__ == "__main__":
    unittest.main()
