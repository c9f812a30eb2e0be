#!/usr/bin/python3
"""Draws the JSON report of a traffic run: throughput over time, RTT histogram, share per socket.

    plot_run.py REPORT.json FILE.png

Beside the keys of every report it reads `series` [{t, mpps}] (t: seconds at the end of the interval), `rtt_histogram`
[{us, count}] (us: lower edge of the bin, bins without gaps) and `parameters` {name: value}, each if it is there.
"""
import sys

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from plot_style import AMBER, MUTED, SERIES, STYLE, TEAL, empty, plot, plt


def grouped(n):
    return f"{n:,}"


def short_us(value):
    if value >= 1000:
        return f"{value / 1000:.3g} ms"
    return f"{value:.3g} µs"


def draw_throughput(axes, report):
    axes.set_title("Throughput over time")
    series = report.get("series") or []
    if not series:
        return empty(axes, "the report has no series")
    times = [0.0] + [p["t"] for p in series]
    rates = [series[0]["mpps"]] + [p["mpps"] for p in series]
    axes.fill_between(times, rates, step="pre", color=TEAL, alpha=0.15, linewidth=0)
    axes.step(times, rates, where="pre", color=TEAL, linewidth=2)
    axes.axhline(report["mpps"], color=AMBER, linewidth=1.5, linestyle=(0, (4, 3)))
    axes.annotate(f"mean {report['mpps']:.3g} Mpps (dashed)", (0.985, 0.96), xycoords="axes fraction", ha="right",
                  va="top", color=AMBER, fontsize=10, fontweight="bold")
    axes.set_xlim(0, times[-1])
    axes.set_ylim(0, max(max(rates), report["mpps"]) * 1.2 or 1)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("datagrams echoed (Mpps)")


def merged_bins(histogram, ratio=1.06):
    """Lower edges and counts, with neighbours joined until each bin is `ratio` wide; the last edge closes the last bin."""
    edges, counts = [], []
    for point in histogram:
        low = max(point["us"], 1e-3)
        if edges and low < edges[-1] * ratio:
            counts[-1] += point["count"]
        else:
            edges.append(low)
            counts.append(point["count"])
    while counts and counts[-1] == 0:
        edges.pop()
        counts.pop()
    while counts and counts[0] == 0:
        edges.pop(0)
        counts.pop(0)
    if edges:
        edges.append(edges[-1] * (edges[-1] / edges[-2] if len(edges) > 1 else 1.1))
    return edges, counts


def draw_rtt(axes, report):
    axes.set_title("Round-trip time")
    edges, counts = merged_bins(report.get("rtt_histogram") or [])
    total = sum(counts)
    if not total:
        return empty(axes, "the report has no RTT histogram")
    shares = [100 * c / total for c in counts]
    axes.set_xscale("log")
    axes.stairs(shares, edges, fill=True, color=TEAL, alpha=0.85)
    axes.set_ylim(0, max(shares) * 1.6)
    marks = [(name, report["rtt_us"][key]) for name, key in
             (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"), ("max", "max"))]
    axes.set_xlim(min(edges[0], marks[0][1]) / 1.15, max(edges[-1], marks[-1][1]) * 1.15)
    # A label a line, so that percentiles that lie close together stay readable.
    for i, (name, value) in enumerate(marks):
        top = 0.97 - 0.075 * i
        right_half = axes.transAxes.inverted().transform(axes.transData.transform((value, 0)))[0] > 0.6
        axes.axvline(value, ymax=top, color=AMBER, linewidth=1.3)
        axes.annotate(f"{name} {short_us(value)}", (value, top), xycoords=("data", "axes fraction"),
                      xytext=(-5 if right_half else 5, 0), textcoords="offset points",
                      ha="right" if right_half else "left", va="top", color=AMBER, fontsize=10, fontweight="bold",
                      bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1})
    few_decades = axes.get_xlim()[1] / axes.get_xlim()[0] < 300
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
    axes.set_xlabel("RTT (µs, log scale)")
    axes.set_ylabel("datagrams per bin (%)")


def draw_sockets(axes, report):
    sockets = report.get("sockets") or []
    axes.set_title("Share per socket")
    total = sum(s["received"] for s in sockets)
    if not total:
        return empty(axes, "no socket received anything")
    shares = [100 * s["received"] / total for s in sockets]
    shards = sorted({s["shard"] for s in sockets})
    colours = {shard: SERIES[i % len(SERIES)] for i, shard in enumerate(shards)}
    bars = axes.bar(range(len(sockets)), shares, color=[colours[s["shard"]] for s in sockets], width=0.75)
    if len(sockets) <= 10:
        axes.bar_label(bars, [f"{share:.1f}" for share in shares], label_type="center", color="white", fontsize=10,
                       fontweight="bold")
        axes.set_xticks(range(len(sockets)), [str(s["index"]) for s in sockets])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.axhline(100 / len(sockets), color=AMBER, linewidth=1.5, linestyle=(0, (4, 3)))
    if len(shards) > 1:
        handles = [plt.Rectangle((0, 0), 1, 1, color=colours[s]) for s in shards]
        axes.legend(handles, [f"shard {s}" for s in shards], frameon=False, fontsize=10, ncols=min(4, len(shards)))
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, max(shares) * (1.35 if len(shards) > 1 else 1.2))
    axes.set_xlabel("socket (dashed: equal shares)")
    axes.set_ylabel("datagrams received (%)")


def subtitle(report):
    parameters = report.get("parameters") or {
        "shards": len(report.get("shards") or []), "sockets": len(report.get("sockets") or [])}
    said = "  ·  ".join(name if value is True else f"{name} {value}" for name, value in parameters.items()
                        if value is not False)
    drops = sum((report.get("drops") or {}).values())
    return (f"{said}\nsent {grouped(report['sent'])}  ·  echoed {grouped(report['received'])}  ·  "
            f"lost {grouped(report['lost'])}  ·  drops counted {grouped(drops)}  ·  {report['seconds']:.3g} s  ·  "
            f"{report['cycles_per_packet']:.0f} cycles per packet")


def draw(report, file):
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(16, 5.6), dpi=110)
        figure.subplots_adjust(left=0.05, right=0.985, top=0.74, bottom=0.125, wspace=0.2)
        figure.text(0.05, 0.93, f"skua traffic run: {report['mpps']:.3g} Mpps", fontsize=18, fontweight="bold")
        figure.text(0.05, 0.905, subtitle(report), fontsize=11, color=MUTED, va="top", linespacing=1.5)
        draw_throughput(panels[0], report)
        draw_rtt(panels[1], report)
        draw_sockets(panels[2], report)
        figure.savefig(file, format="png")
        plt.close(figure)


if __name__ == "__main__":
    plot(__doc__, draw)
