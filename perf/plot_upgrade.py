#!/usr/bin/python3
"""Draws the JSON report of the upgrade: datagrams that reached the wrong server, upgrade by upgrade, each way.

    plot_upgrade.py REPORT.json FILE.png
"""
import pathlib
import sys

from matplotlib.ticker import MaxNLocator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "apps"))
from plot_style import MUTED, SERIES, STYLE, plot, plt  # noqa: E402

SIDES = [("generations", None, SERIES[0]), ("generations, as processes", "processes", SERIES[1]),
         ("plain SO_REUSEPORT", "plain_reuseport", SERIES[3]),
         ("kernel, plain SO_REUSEPORT", "kernel", SERIES[2])]
PANELS = [("Answered by a server without the flow", "misdirected"),
          ("New flows at an old generation", "new_to_old"),
          ("Flows whose server crashed", "orphaned")]


def draw(report, file):
    plt.rcParams.update(STYLE)
    figure, panels = plt.subplots(1, len(PANELS), figsize=(15, 4.6), layout="constrained")
    for axes, (title, count) in zip(panels, PANELS):
        for name, key, colour in SIDES:
            if key and key not in report:
                continue
            side = report[key] if key else report
            values = [100 * step[count] / side["flows"] for step in side["after_upgrade"]]
            axes.plot(range(1, len(values) + 1), values, color=colour, marker="o", markersize=4, label=name)
        axes.set_title(title)
        axes.set_xlabel("Upgrades so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("% of the flows at any time")
    panels[0].legend(frameon=False)
    figure.suptitle(f"{report['upgrades']} upgrades under load, {report['flows']:,} flows "
                    f"({report['kernel']['flows']:,} on the kernel)", color=MUTED, fontsize=11)
    figure.savefig(file, format="png", dpi=130)


if __name__ == "__main__":
    plot(__doc__, draw)
