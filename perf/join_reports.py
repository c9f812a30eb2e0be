#!/usr/bin/python3
"""Makes one JSON object of the reports of several scenarios, which have no keys in common.

    join_reports.py FILE REPORT.json...
"""
import json
import pathlib
import sys


def main():
    joined = {}
    for report in map(pathlib.Path, sys.argv[2:]):
        figures = json.loads(report.read_text())
        if both := joined.keys() & figures.keys():
            sys.exit(f"{report.stem}: {', '.join(sorted(both))} are in two reports")
        joined |= figures
    if len(sys.argv) == 3:
        text = pathlib.Path(sys.argv[2]).read_text()
    else:
        text = json.dumps(joined, indent=2) + "\n"
    try:
        pathlib.Path(sys.argv[1]).write_text(text)
    except OSError as problem:
        sys.exit(f"perf/run: cannot write {sys.argv[1]}: {problem.strerror}")


if __name__ == "__main__":
    main()
