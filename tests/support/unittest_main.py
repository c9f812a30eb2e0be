"""Runs one unittest file and reports as GoogleTest does, so that tests/run counts both in one way.

    unittest_main.py FILE [ARGUMENT...]      arguments are for the file: sys.argv[1:]

Environment: GTEST_OUTPUT=json:PATH writes the report there; GTEST_FILTER=GLOB runs the cases it matches.
"""
import fnmatch
import importlib.util
import json
import os
import pathlib
import sys
import unittest


class Report(unittest.TextTestResult):
    """Keeps each case in GoogleTest's form; a subtest that fails makes its case fail."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = {}

    def _case(self, test):
        group, _, name = test.id().rpartition(".")
        return self.cases.setdefault(test.id(), {
            "name": name, "classname": group.rpartition(".")[2], "status": "RUN", "result": "COMPLETED"})

    def _failed(self, test, err):
        self._case(test).setdefault("failures", []).append({"failure": self._exc_info_to_string(err, test)})

    def startTest(self, test):
        super().startTest(test)
        self._case(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failed(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._failed(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(test, err)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._case(test).setdefault("failures", []).append({"failure": "passed, though expected to fail"})

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._case(test)["result"] = "SKIPPED"

    def write(self, path):
        groups = {}
        for case in self.cases.values():
            groups.setdefault(case["classname"], []).append(case)
        path.write_text(json.dumps({"testsuites": [{"name": n, "testsuite": c} for n, c in groups.items()]}))


def every_case(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from every_case(item)
        else:
            yield item


def matches(case, glob):
    short = ".".join(case.id().split(".")[-2:])
    return fnmatch.fnmatchcase(short, glob)


def main():
    file = pathlib.Path(sys.argv[1]).resolve()
    sys.argv = sys.argv[1:]
    sys.path[:0] = [str(file.parent), str(pathlib.Path(__file__).resolve().parent)]
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)

    glob = os.environ.get("GTEST_FILTER", "*")
    suite = unittest.TestSuite(c for c in every_case(unittest.defaultTestLoader.loadTestsFromModule(module))
                               if matches(c, glob))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Report).run(suite)
    kind, _, path = os.environ.get("GTEST_OUTPUT", "").partition(":")
    if kind == "json" and path:
        result.write(pathlib.Path(path))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
