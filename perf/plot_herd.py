#!/usr/bin/python3
"""Draws the JSON report of the herd: what a datagram costs against the number of waiters, four ways on each side.

    plot_herd.py REPORT.json FILE.png
"""
import pathlib
import sys

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "apps"))
from plot_style import INK, MUTED, SERIES, STYLE, empty, plot, plt  # noqa: E402

MODES = {"epoll": SERIES[3], "exclusive": SERIES[0], "lock": SERIES[1], "reuseport": SERIES[2]}
SIDES = {"skua": ("-", "o"), "attached": ((0, (1, 1)), "D"), "kernel": ((0, (4, 2.5)), "s")}
PANELS = [  # title, value, logarithmic
    ("Wake-ups per datagram", lambda r: r["wakeups_per_datagram"], False),
    ("Useless wake-ups per datagram", lambda r: r["useless_per_datagram"], False),
    ("Latency from send to receive, p99 (µs)", lambda r: r["latency_us"]["p99"], True),
    ("Datagrams per second, 128 in flight", lambda r: r["datagrams_per_second"], True),
]


def short(value, _=None):
    for unit, name in ((1e6, " M"), (1e3, " K")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def lines_of(results):
    """(mode, side, results by number of waiters) of each line."""
    for mode in MODES:
        for side in SIDES:
            line = sorted((r for r in results if r["mode"] == mode and r["side"] == side), key=lambda r: r["waiters"])
            if line:
                yield mode, side, line


def draw_panel(axes, results, title, value, logarithmic):
    axes.set_title(title)
    if not results:
        return empty(axes, "the report has no results")
    lines = list(lines_of(results))
    for i, (mode, side, line) in enumerate(lines):
        # Side by side, for many lie upon one another: the three remedies all wake one.
        nudge = 2 ** (0.3 * ((i + 0.5) / len(lines) - 0.5))
        dashes, marker = SIDES[side]
        axes.plot([r["waiters"] * nudge for r in line], [value(r) for r in line], color=MODES[mode], linewidth=1.8,
                  linestyle=dashes, marker=marker, markersize=5.5,
                  markerfacecolor="white" if side == "kernel" else MODES[mode], clip_on=False, zorder=3)
    numbers = sorted({r["waiters"] for r in results})
    axes.set_xscale("log", base=2)
    axes.set_xlim(numbers[0] / 1.25, numbers[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlabel("waiters")
    if logarithmic:
        draw_log_axis(axes, [value(r) for r in results])
    else:
        axes.set_ylim(0, max(1, *(value(r) for r in results)) * 1.08)


def draw_log_axis(axes, values):
    low, high = min(v for v in values if v > 0), max(values)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.3, high * 1.3)
    ticks = [m * 10 ** e for e in range(-2, 9) for m in (1, 2, 5) if low / 1.3 <= m * 10 ** e <= high * 1.3]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(short))


def draw(report, file):
    results = report["herd"]
    cpus = report.get("parameters", {}).get("cpus", "?")
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(2, 2, figsize=(14, 10), dpi=110)
        figure.subplots_adjust(left=0.06, right=0.98, top=0.83, bottom=0.06, wspace=0.14, hspace=0.3)
        figure.text(0.06, 0.955, "The thundering herd: who wakes for a datagram", fontsize=18, fontweight="bold")
        figure.text(0.06, 0.928, f"N processes wait in epoll for datagrams to 127.0.0.1, {cpus} CPUs  ·  wake-ups and "
                    "latency: all asleep when a datagram comes", fontsize=11, color=MUTED, va="center")
        handles = [Line2D([], [], color=colour, linewidth=3, label=mode) for mode, colour in MODES.items()]
        handles += [Line2D([], [], color=INK, linewidth=1.8, linestyle=dashes, marker=marker, markersize=5.5,
                           markerfacecolor="white" if side == "kernel" else INK, label=side)
                    for side, (dashes, marker) in SIDES.items() if any(r["side"] == side for r in results)]
        figure.legend(handles=handles, loc="center left", bbox_to_anchor=(0.052, 0.893), ncols=7, frameon=False,
                      fontsize=11.5, handlelength=2.6, columnspacing=2)
        for axes, panel in zip(panels.flat, PANELS):
            draw_panel(axes, results, *panel)
        figure.savefig(file, format="png")
        plt.close(figure)


if __name__ == "__main__":
    plot(__doc__, draw)
