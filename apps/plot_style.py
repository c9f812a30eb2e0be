"""The common look of the project's figures, matplotlib set up to draw into files, and the command line of each plot."""
import argparse
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, MUTED, GRID = "#1b2733", "#5d6b78", "#e3e8ec"
TEAL, AMBER = "#0f7c8a", "#c8641b"
SERIES = ["#0f7c8a", "#b7791f", "#7a5ea8", "#c0504d", "#5b8c3a", "#3a6ea5", "#a0522d", "#888888"]

STYLE = {
    "font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 13, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 10, "axes.labelcolor": MUTED, "axes.labelsize": 11,
    "text.color": INK, "axes.edgecolor": "#b8c2ca", "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": MUTED, "ytick.color": MUTED, "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True,
}


def empty(axes, what):
    """A panel that has nothing to show, and says so."""
    axes.text(0.5, 0.5, what, ha="center", va="center", color=MUTED, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def plot(description, draw):
    """A program's whole main: reads the JSON report, and has draw(report, file) make the picture."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("report", metavar="REPORT.json")
    parser.add_argument("file", metavar="FILE.png")
    arguments = parser.parse_args()
    try:
        draw(json.loads(pathlib.Path(arguments.report).read_text(encoding="utf-8")), arguments.file)
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {e}")
