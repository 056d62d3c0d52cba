#!/usr/bin/env python3
"""Draw what `ringmirror bench transfer SOURCE TARGET --json` measured: time and bytes against the share that is dirty.

Writes OUTPUT.png and OUTPUT.svg. With --qemu, what incremental.py measured of QEMU on an image of the same size is drawn too.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from statistics import median

GIB = 1 << 30
# Okabe and Ito's colours, which the colour-blind can tell apart, and a marker each for who prints in grey.
STYLE = {
    "random": ("#0072B2", "o"), "clumped": ("#D55E00", "s"), "sequential": ("#009E73", "^"),
}
OTHER = ("#CC79A7", "D")
FULL = "#444444"
QEMU = {"qemu": ("#999999", ":", "QEMU as it comes"), "qemu best": ("#000000", (0, (4, 2)), "QEMU at its best")}
TEXT = "#222222"


class Unusable(Exception):
    """The input is not what it should be."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transfer", help="the lines of JSON, or - for standard input")
    parser.add_argument("--output", default="transfer", help="path of the charts without .png and .svg (default: transfer)")
    parser.add_argument("--qemu", metavar="JSON", help="results of incremental.py")
    parser.add_argument("--linear", action="store_true", help="seconds on a linear scale")
    parser.add_argument("--title", help="default: the size and granularity of the image")
    return parser.parse_args()


class Transfer:
    """The measured lines by pattern, the full mirror, and the summary."""

    def __init__(self, lines):
        runs, full, self.summary = defaultdict(lambda: defaultdict(list)), [], {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
                kind = event["event"]
                if kind == "transferSummary":
                    self.summary = event
                elif kind == "transfer":
                    point = (event["seconds"], event["read"] + event["written"])
                    (full if event["mode"] == "full" else runs[event["pattern"]][event["share"]]).append(point)
            except (ValueError, KeyError, TypeError) as why:
                raise Unusable(f"line {number} is no event of `bench transfer`: {why!r}") from why
        if not runs:
            raise Unusable("there is no incremental transfer in it: is it the output of `ringmirror bench transfer --json`?")
        self.full = _median(full) if full else None
        self.patterns = {
            pattern: [(share * 100, *_median(points)) for share, points in sorted(shares.items()) if share > 0]
            for pattern, shares in sorted(runs.items(), key=lambda item: list(STYLE).index(item[0]) if item[0] in STYLE else 9)
        }

    @property
    def size(self):
        return self.summary.get("size")

    def words(self, pattern):
        """A pattern and where it crosses, for the legend."""
        known, share = self.crossing(pattern)
        if not known:
            return pattern
        return f"{pattern} (full is {'never faster' if share is None else f'faster from {share * 100:.0f} %'})"

    def crossing(self, pattern):
        """`(known, share)`: from which share on incremental takes longer than full; None if it never does."""
        for entry in self.summary.get("crossings", []):
            if entry["pattern"] == pattern:
                return True, entry.get("share")
        return False, None


def _median(points):
    return tuple(median(values) for values in zip(*points))


def qemu_points(path, size):
    """`{setting: {pattern: [(percent, seconds, bytes)]}}` of incremental.py's results."""
    with open(path) as file:
        results = json.load(file)
    if results.get("what") != "incremental":
        raise Unusable(f"{path} is not what incremental.py writes")
    if size and results["size"] != size:
        raise Unusable(f"{path} is about {results['size']} bytes, the transfer about {size}: the two don't compare. Use --size.")
    found = {setting: defaultdict(list) for setting in QEMU}
    for case in results["cases"].values():
        dirty = case["dirty"]
        for setting in QEMU:
            walls = [sample["wall"] for sample in case["samples"].get(setting, [])]
            if walls:
                point = (dirty["bytes"] / results["size"] * 100, median(walls), 2 * dirty["bytes"])
                found[setting][dirty["pattern"]].append(point)
    return {setting: {pattern: sorted(points) for pattern, points in by.items()} for setting, by in found.items()}


def show(count):
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} bytes"


def percent(value, _position=None):
    return f"{value:g} %"


def draw(transfer, qemu, args, plt, ticker):
    plt.rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 11, "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": "#888888",
        "xtick.color": TEXT, "ytick.color": TEXT, "svg.hashsalt": "ringmirror", "axes.spines.top": False, "axes.spines.right": False,
    })
    figure, (times, volumes) = plt.subplots(
        2, 1, figsize=(9, 8.2), sharex=True, gridspec_kw={"height_ratios": [3, 2]}, layout="constrained"
    )
    for axes, column in ((times, 1), (volumes, 2)):
        unit = 1 if column == 1 else GIB
        panel(axes, transfer, qemu, column, unit)
        axes.set_xscale("log")
        axes.grid(True, which="major", color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(percent))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    if not args.linear:
        for axes, steps in ((times, (1, 2, 5)), (volumes, (1,))):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=steps))
            axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        times.set_ylim(bottom=0)
        volumes.set_ylim(bottom=0)
    mark_crossings(times, transfer)
    figure.align_ylabels()
    times.set_ylabel("seconds")
    volumes.set_ylabel("GiB read and written")
    volumes.set_xlabel("share of the image that is dirty")
    figure.suptitle(args.title or title_of(transfer), x=0.01, ha="left", fontsize=13, fontweight="bold")
    times.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.3, columnspacing=3)
    return figure


def title_of(transfer):
    size, granularity = transfer.size, transfer.summary.get("granularity")
    of = f" of {show(size)}" if size else ""
    by = f", in clusters of {show(granularity)}" if granularity else ""
    return f"An incremental mirror{of}{by}, against a full one"


def panel(axes, transfer, qemu, column, unit):
    """All lines of one panel; `column` 1 are seconds, 2 are bytes."""
    if transfer.full:
        axes.axhline(transfer.full[column - 1] / unit, color=FULL, linewidth=1.5, label="full")
    for rank, (pattern, points) in enumerate(transfer.patterns.items()):
        color, marker = STYLE.get(pattern, OTHER)
        # The bytes of the patterns are nearly the same: thinner lines over thicker ones show that they are all there.
        width, dot = (2, 6) if column == 1 else (5.5 - 2 * rank, 9 - 2 * rank)
        axes.plot(
            [point[0] for point in points], [point[column] / unit for point in points],
            color=color, marker=marker, markersize=dot, linewidth=max(width, 1), label=transfer.words(pattern), zorder=3 + rank,
        )
    for setting, patterns in qemu.items():
        color, dashes, words = QEMU[setting]
        for rank, (pattern, points) in enumerate(sorted(patterns.items(), key=lambda item: -len(item[1]))):
            label = None if rank else words  # one entry in the legend; the markers are the patterns'
            _, marker = STYLE.get(pattern, OTHER)
            axes.plot(
                [point[0] for point in points], [point[column] / unit for point in points], color=color, linestyle=dashes,
                marker=marker, markerfacecolor="white", markersize=7, linewidth=1.5, label=label, zorder=8,
            )


def mark_crossings(axes, transfer):
    """A ring where a pattern's line crosses the full mirror's; the legend says at which share."""
    if not transfer.full:
        return
    for pattern in transfer.patterns:
        known, share = transfer.crossing(pattern)
        if not known or share is None:
            continue
        color, _ = STYLE.get(pattern, OTHER)
        axes.plot([share * 100], [transfer.full[0]], marker="o", markersize=13, markerfacecolor="none", markeredgecolor=color,
                  markeredgewidth=2, linestyle="none", zorder=9)


def main():
    args = arguments()
    try:
        import matplotlib
    except ImportError:
        sys.exit("chart.py: matplotlib is not installed (Debian: python3-matplotlib)")
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    if args.transfer == "-":
        transfer = Transfer(sys.stdin)
    else:
        with open(args.transfer) as file:
            transfer = Transfer(file)
    qemu = qemu_points(args.qemu, transfer.size) if args.qemu else {}
    figure = draw(transfer, qemu, args, pyplot, ticker)
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    for kind in ("png", "svg"):
        # Without the date, the same figures make the same file.
        figure.savefig(f"{args.output}.{kind}", dpi=200, metadata={"Date": None} if kind == "svg" else None)
        print(f"{args.output}.{kind}")


if __name__ == "__main__":
    try:
        main()
    except (Unusable, OSError) as why:
        sys.exit(f"chart.py: {why}")
