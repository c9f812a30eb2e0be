#!/usr/bin/python3
"""Draws the JSON report of the lookups: cycles against the number of sockets, by table, in bursts and one at a time.

    plot_lookup.py REPORT.json FILE.png
"""
import pathlib
import sys

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "apps"))
from plot_style import INK, MUTED, SERIES, STYLE, empty, plot, plt  # noqa: E402

PANELS = [
    ("ports", "On different ports"),
    ("addresses", "On one port, different addresses"),
    ("connected", "Connected, on one address and port"),
]
FAMILIES = {4: SERIES[0], 6: SERIES[1]}
BURSTS = {32: ("-", "o", "bursts of 32"), 1: ((0, (4, 2.5)), "s", "one at a time")}


def short(value, _=None):
    for unit, name in ((1e6, " M"), (1e3, " K")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def draw_panel(axes, rows, title, top):
    axes.set_title(title)
    if not rows:
        return empty(axes, "not in the report")
    for family, colour in FAMILIES.items():
        for burst, (dashes, marker, _) in BURSTS.items():
            line = sorted((r["sockets"], r["cycles"]) for r in rows if (r["family"], r["burst"]) == (family, burst))
            if line:
                axes.plot(*zip(*line), color=colour, linewidth=1.8, linestyle=dashes, marker=marker, markersize=5.5,
                          markerfacecolor=colour if burst == 32 else "white", clip_on=False, zorder=3)
    numbers = sorted({r["sockets"] for r in rows})
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.5, numbers[-1] * 1.5)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlabel("sockets")
    axes.set_ylim(0, top)


def draw(report, file):
    rows = report["lookup"]
    top = max((r["cycles"] for r in rows), default=1) * 1.08
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(15, 5.6), dpi=110)
        figure.subplots_adjust(left=0.05, right=0.985, top=0.74, bottom=0.11, wspace=0.16)
        figure.text(0.05, 0.93, "Cycles to find the socket of a datagram", fontsize=18, fontweight="bold")
        figure.text(0.05, 0.89, "random packets, cycles of the time stamp counter, without what reading the packets costs",
                    fontsize=11, color=MUTED, va="center")
        handles = [Line2D([], [], color=colour, linewidth=3, label=f"IPv{family}")
                   for family, colour in FAMILIES.items()]
        handles += [Line2D([], [], color=INK, linewidth=1.8, linestyle=dashes, marker=marker, markersize=5.5,
                           markerfacecolor=INK if burst == 32 else "white", label=label)
                    for burst, (dashes, marker, label) in BURSTS.items()]
        figure.legend(handles=handles, loc="center left", bbox_to_anchor=(0.042, 0.84), ncols=4, frameon=False,
                      fontsize=11.5, handlelength=2.6, columnspacing=2)
        for axes, (table, title) in zip(panels, PANELS):
            draw_panel(axes, [r for r in rows if r["table"] == table], title, top)
        figure.savefig(file, format="png")
        plt.close(figure)


if __name__ == "__main__":
    plot(__doc__, draw)
