"""Forest plot of a comparison: differences with their intervals, one row per measure and one panel per pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from uadbench.results.compare import Pair

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECIDED, OPEN = "#0072b2", "#7f7f7f"


def forest(pairs: Sequence[Pair]) -> Figure:
    """Draw the differences (first - second) with their 95 % intervals; significant ones are filled."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys((pair.first, pair.second) for pair in pairs))
    measures = list(dict.fromkeys(pair.measure for pair in pairs))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(1.2 + 3.4 * columns, 0.9 + rows * (0.7 + 0.28 * len(measures))), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for (first, second), axis in zip(names, axes.flat, strict=False):
        axis.axvline(0, color="0.6", linewidth=0.8)
        for pair in pairs:
            if (pair.first, pair.second) != (first, second):
                continue
            position, off = len(measures) - 1 - measures.index(pair.measure), pair.comparison.difference
            colour = DECIDED if pair.decided else OPEN
            if off.low is not None and off.high is not None:
                axis.plot([off.low, off.high], [position, position], color=colour, linewidth=1.6)
            if off.mean is not None:
                face = colour if pair.decided else "white"
                axis.plot(off.mean, position, "o", color=colour, markerfacecolor=face, markersize=5)
        axis.set_title(f"{first} - {second}", fontsize=9)
        axis.set_yticks(range(len(measures)), measures[::-1], fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("difference in average precision (95 %; filled: significant, Holm-adjusted)", fontsize=8)
    return figure
