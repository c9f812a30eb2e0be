"""tests/run: builds, runs the suites that this machine can run, counts test cases.

Every program is asked for GoogleTest's JSON report (GTEST_OUTPUT), which support/unittest_main.py writes as well. A
program that leaves no report counts as one case by its exit code (77: skipped, as in meson).
"""
import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP_EXIT_CODE = 77
# With debug information, ccache would take the same file in another checkout for a different one.
CCACHE = {"CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"}


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclasses.dataclass
class Failure:
    name: str
    output: str


@dataclasses.dataclass
class Program:
    """A test of meson's: a command, where and how long it may run."""
    name: str
    command: list
    environment: dict
    workdir: str | None
    timeout: float
    parallel: bool


@dataclasses.dataclass
class Result:
    program: str
    seconds: float
    counts: Counts
    failures: list
    output: str


class BuildFailed(Exception):
    pass


class Build:
    """A build directory: configured when needed, built, and asked for its tests."""

    def __init__(self, directory, options=(), compiler=None, environment=None, slower=1):
        self.directory = pathlib.Path(directory)
        self.options = list(options)
        self.compiler = compiler
        self.slower = slower
        self.environment = {k: v.replace("@root@", str(ROOT)) for k, v in (environment or {}).items()}
        self.sanitized = any("b_sanitize" in o for o in self.options)

    def configure(self):
        stamp = self.directory / "skua-options.json"
        wanted = json.dumps([self.options, self.compiler])
        configured = (self.directory / "build.ninja").exists()
        if configured and self.options and (not stamp.exists() or stamp.read_text() != wanted):
            shutil.rmtree(self.directory)
            configured = False
        if not configured:
            environment = dict(os.environ)
            if self.compiler:
                environment["CXX"] = f"ccache {self.compiler}"
                environment["CC"] = "ccache " + self.compiler.replace("clang++", "clang").replace("g++", "gcc")
            self._do(["meson", "setup", str(self.directory), str(ROOT), *self.options], environment)
            if self.options:
                stamp.write_text(wanted)
        else:
            self._do(["ninja", "-C", str(self.directory), "build.ninja"])

    def build(self, targets):
        """Builds some targets (paths in the build directory); None: all."""
        command = ["ninja", "-C", str(self.directory), *(targets if targets is not None else [])]
        if targets == []:
            return
        if sys.stderr.isatty():
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                              env={**os.environ, **CCACHE}).returncode != 0:
                raise BuildFailed(f"the build in {self.directory} failed")
        else:
            self._do(command)

    def _do(self, command, environment=None):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", env={**(environment or os.environ), **CCACHE})
        if done.returncode != 0:
            raise BuildFailed(f"{' '.join(command)}\n{done.stdout[-20000:]}")

    def _info(self, what):
        return json.loads((self.directory / "meson-info" / f"intro-{what}.json").read_text())

    def suites(self):
        """meson's suites in order of appearance: name -> tests."""
        found = {}
        for test in self._info("tests"):
            for suite in test["suite"]:
                found.setdefault(suite.split(":")[-1], []).append(test)
        return found

    def targets_of(self, tests):
        outputs = {t["id"]: t["filename"] for t in self._info("targets")}
        known = {f for names in outputs.values() for f in names}
        wanted = {word for test in tests for word in test["cmd"] if word in known}
        wanted |= {f for test in tests for d in test.get("depends", []) for f in outputs.get(d, [])}
        return sorted(os.path.relpath(f, self.directory) for f in wanted)

    def programs(self, tests):
        wrapper = unrandomised() if self.sanitized else []
        return [Program(t["name"], wrapper + t["cmd"], {**t["env"], **self.environment}, t["workdir"],
                        t["timeout"] * self.slower if t["timeout"] > 0 else 3600, t["is_parallel"]) for t in tests]


def unrandomised():
    """gcc 12's and clang 14's sanitizers lose their shadow memory under the wide address randomisation of new kernels."""
    wrapper = ["setarch", "--addr-no-randomize"]
    works = subprocess.run(wrapper + ["true"], capture_output=True).returncode == 0
    return wrapper if works else []


def read_report(path):
    """Counts and failures of a GoogleTest JSON report; the failures' outputs are GoogleTest's own messages."""
    counts, failures = Counts(), []
    for group in json.loads(path.read_text(errors="replace")).get("testsuites", []):
        for case in group["testsuite"]:
            name = f"{case['classname']}.{case['name']}"
            if case.get("failures"):
                counts.failed += 1
                failures.append(Failure(name, "\n".join(f["failure"] for f in case["failures"])))
            elif case.get("result") == "SKIPPED":
                counts.skipped += 1
            elif case.get("status") == "RUN":
                counts.passed += 1
            elif "DISABLED_" in name:
                counts.skipped += 1
    return counts, failures


def output_of_case(output, name):
    """What GoogleTest printed for one case, or nothing if it is not GoogleTest's output."""
    match = re.search(rf"^\[ RUN      \] {re.escape(name)}\n(.*?)^\[  FAILED  \] ", output, re.MULTILINE | re.DOTALL)
    return match.group(1) if match else ""


def without_report(code, output, timeout):
    """A program that ended before it could report, or never does."""
    started = re.findall(r"^\[ RUN      \] (\S+)", output, re.MULTILINE)
    if code == SKIP_EXIT_CODE and not started:
        return Counts(skipped=1), []
    if code == 0 and not started:
        return Counts(passed=1), []
    passed = len(re.findall(r"^\[       OK \] ", output, re.MULTILINE))
    failed = re.findall(r"^\[  FAILED  \] (\S+?) \(\d+ ms\)$", output, re.MULTILINE)
    skipped = len(re.findall(r"^\[  SKIPPED \] \S+ \(\d+ ms\)$", output, re.MULTILINE))
    where = f" in {started[-1]}" if started else ""
    failures = [Failure(name, output_of_case(output, name)) for name in failed]
    failures.append(Failure(f"{describe_end(code, timeout)}{where}", tail(output)))
    return Counts(passed, len(failures), skipped), failures


def describe_end(code, timeout):
    if code is None:
        return f"no end after {timeout:.0f} s"
    if code < 0:
        return f"crashed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def tail(text, most=60):
    """The end of an output, from where a sanitizer begins its report if one does."""
    lines = text.splitlines()
    reports = [i for i, line in enumerate(lines) if re.search(r"(ERROR|WARNING): \w*Sanitizer|: runtime error: ", line)]
    return "\n".join(lines[reports[0]:][:most] if reports else lines[-most:])


running = set()  # process groups


def stop_all(number, _frame):
    """Ctrl-C or a CI's time limit: what was started ends with us."""
    for group in list(running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    sys.exit(128 + number)


def run_program(program, options):
    with tempfile.TemporaryDirectory(prefix="skua-test-") as scratch:
        report = pathlib.Path(scratch) / "report.json"
        environment = {**os.environ, **program.environment, "GTEST_OUTPUT": f"json:{report}", "GTEST_COLOR": "no"}
        if options.filter:
            environment["GTEST_FILTER"] = options.filter if "*" in options.filter else f"*{options.filter}*"
        if options.seed is not None:
            environment["SKUA_TEST_SEED"] = str(options.seed)
            environment["GTEST_RANDOM_SEED"] = str(options.seed % 100000)
            environment["RC_PARAMS"] = f"seed={options.seed} " + environment.get("RC_PARAMS", "")
        begin = time.monotonic()
        process = subprocess.Popen(program.command, cwd=program.workdir or scratch, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        running.add(process.pid)
        try:
            output, _ = process.communicate(timeout=program.timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            code = None
        running.discard(process.pid)
        output = output.decode(errors="replace")
        if report.exists() and code is not None:
            counts, failures = read_report(report)
            for failure in failures:
                failure.output = output_of_case(output, failure.name) or failure.output
            # All cases passed and still it failed: a leak found at the end, or a crash after the last case.
            if code != 0 and not failures:
                counts.failed += 1
                failures.append(Failure(describe_end(code, program.timeout), tail(output)))
        else:
            counts, failures = without_report(code, output, program.timeout)
        return Result(program.name, time.monotonic() - begin, counts, failures, output)


def run_programs(programs, jobs, options):
    """Runs at most `jobs` at a time; those that must be alone, alone."""
    together = [p for p in programs if p.parallel and jobs > 1]
    alone = [p for p in programs if p not in together]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda p: run_program(p, options), together)
    for program in alone:
        yield run_program(program, options)


class Run:
    """One call of tests/run."""

    def __init__(self, options, table):
        self.options = options
        self.table = table
        self.main = Build(options.build_dir)
        self.total = Counts()
        self.failed_names = []
        self.programs_run = 0

    def say(self, suite, text, begin=None):
        seconds = "" if begin is None else f"{time.monotonic() - begin:8.1f} s"
        print(f"{suite:<12}{text:<44}{seconds}".rstrip(), flush=True)

    def why_not(self, suite):
        """Why this machine cannot run a suite, or None."""
        entry = self.table.get(suite, {})
        for need in entry.get("needs", []):
            if reason := getattr(machine, need)():
                return reason
        missing = subprocess.run([ROOT / "apps/install", "--missing", *entry.get("packages", [])],
                                 capture_output=True, text=True).stdout.split() if entry.get("packages") else []
        return f"these packages are missing: {' '.join(missing)}" if missing else None

    def note_failures(self, suite, result):
        for failure in result.failures:
            name = f"{suite}: {result.program}: {failure.name}"
            self.failed_names.append(name)
            print(f"--- FAILED {name}\n{failure.output.rstrip()}\n---", flush=True)

    def run_in(self, suite, build, tests, counts, where=""):
        jobs = self.table.get(suite, {}).get("jobs", 2)
        for result in run_programs(build.programs(tests), jobs, self.options):
            self.programs_run += 1
            counts.add(result.counts)
            if self.options.verbose:
                print(result.output.rstrip())
                self.say(f"  {suite}", f"{result.program}: {result.counts}  ({result.seconds:.1f} s)")
            self.note_failures(suite + where, result)

    def run_suite(self, suite, tests):
        begin = time.monotonic()
        counts = Counts()
        builds = self.table.get(suite, {}).get("builds", [])
        if not tests and not builds:
            return self.say(suite, "left out: no such tests in this build")
        if reason := self.why_not(suite):
            self.total.skipped += 1
            self.programs_run += 1
            return self.say(suite, f"left out: {reason}")
        self.run_in(suite, self.main, tests, counts)
        for entry in builds:
            build = Build(f"{self.main.directory}-{entry['name']}", entry["options"], entry.get("compiler"),
                          entry.get("environment"), entry.get("slower", 1))
            try:
                build.configure()
                found = build.suites()
                there = [t for name in entry["suites"] for t in found.get(name, [])]
                build.build(build.targets_of(there))
                self.run_in(suite, build, there, counts, f"/{entry['name']}")
            except BuildFailed as e:
                counts.failed += 1
                self.note_failures(suite, Result(entry["name"], 0, counts, [Failure("build", str(e))], ""))
        if not any(dataclasses.astuple(counts)):
            return self.say(suite, "left out: no such tests in this build")
        self.total.add(counts)
        self.say(suite, str(counts), begin)

    def run(self):
        self.install()
        begin = time.monotonic()
        try:
            self.main.configure()
            found = self.main.suites()
            suites = self.chosen(found)
            whole = not self.options.suites or any(self.table.get(s, {}).get("whole") for s in suites)
            self.main.build(None if whole else self.main.targets_of([t for s in suites for t in found.get(s, [])]))
        except BuildFailed as e:
            print(e)
            self.total.failed += 1
            self.say("build", "failed", begin)
        else:
            self.say("build", os.path.relpath(self.main.directory), begin)
            for suite in suites:
                self.run_suite(suite, found.get(suite, []))
        return self.end()

    def install(self):
        asked = self.options.suites or list(self.table)
        sections = {p for s in asked for p in self.table.get(s, {}).get("packages", [])}
        # What cannot be installed is no failure here: its suites are left out and say so.
        subprocess.run([ROOT / "apps/install", *sorted(sections)] if sections else ["true"], stdout=subprocess.DEVNULL)

    def chosen(self, found):
        inner = {s for entry in self.table.values() for b in entry.get("builds", []) for s in b["suites"]}
        known = list(self.table) + [s for s in found if s not in self.table and s not in inner]
        for suite in self.options.suites:
            if suite not in known:
                sys.exit(f"tests/run: no suite {suite}; there are: {' '.join(known)}")
        return [s for s in known if not self.options.suites or s in self.options.suites]

    def end(self):
        if self.failed_names:
            print("failed:")
            for name in self.failed_names:
                print(f"  {name}")
        nothing = self.programs_run == 0 or (self.options.filter and not any(dataclasses.astuple(self.total)))
        if nothing and not self.total.failed:
            print("no test was run")
        print(self.total, flush=True)
        return 1 if self.total.failed or nothing else 0


def arguments(table):
    suites = "\n".join(f"  {name:<12}{entry.get('what', '')}" for name, entry in table.items())
    parser = argparse.ArgumentParser(
        prog="tests/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Installs what is missing, builds, and runs the suites that this machine can run.",
        epilog=f"suites (none named: all):\n{suites}\n\nThe last line is `N passed, N failed, N skipped` (test cases).")
    parser.add_argument("suites", metavar="SUITE", nargs="*")
    parser.add_argument("-v", "--verbose", action="store_true", help="the output of every program")
    parser.add_argument("--build-dir", default=os.environ.get("BUILD_DIR", str(ROOT / "build")), metavar="DIR",
                        help="where to build (build/, or environment BUILD_DIR); further builds go beside it")
    parser.add_argument("--filter", metavar="PATTERN", help="only cases whose name contains PATTERN, or matches it (*)")
    parser.add_argument("--seed", type=int, help="of the randomised tests, to repeat a run")
    options = parser.parse_args()
    options.build_dir = os.path.abspath(options.build_dir)
    return options


def main():
    signal.signal(signal.SIGINT, stop_all)
    signal.signal(signal.SIGTERM, stop_all)
    table = tomllib.loads((ROOT / "tests/suites.toml").read_text())
    return Run(arguments(table), table).run()


if __name__ == "__main__":
    sys.exit(main())
