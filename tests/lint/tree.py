"""The files of the source tree, as the checks of lint see them."""
import functools
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CPP = (".cc", ".hh", ".h", ".hpp", ".c")
HEADERS = (".hh", ".h", ".hpp")


@functools.cache
def files():
    """Every file that is committed or would be, relative to the root."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True)
    if listed.returncode == 0:
        names = [pathlib.Path(n) for n in listed.stdout.decode().split("\0") if n]
    else:  # an unpacked archive
        names = [p.relative_to(ROOT) for p in ROOT.rglob("*")
                 if not any(part.startswith(("build", ".git")) or part == "__pycache__" for part in
                            p.relative_to(ROOT).parts)]
    return sorted(n for n in names if (ROOT / n).is_file() and not (ROOT / n).is_symlink())


@functools.cache
def text(name):
    """A file's text; nothing for a binary one."""
    data = (ROOT / name).read_bytes()
    return "" if b"\0" in data[:8192] else data.decode(errors="replace")


def lines(name):
    return text(name).split("\n")


def cpp_files():
    return [n for n in files() if n.suffix in CPP]


def headers():
    return [n for n in files() if n.suffix in HEADERS]


def script_kind(name):
    """sh, bash or python for what can be run as such, else None."""
    first = lines(name)[0]
    if name.suffix == ".py" or re.match(r"#!.*python", first):
        return "python"
    if re.match(r"#!.*\bbash\b", first):
        return "bash"
    if re.match(r"#!.*\bsh\b", first) or name.suffix == ".sh":
        return "sh"
    return None


def includes(name):
    """(line number, kind, path) of each #include: kind is the opening quote or bracket."""
    for number, line in enumerate(lines(name), 1):
        if match := re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line):
            yield number, match.group(1), match.group(2)
