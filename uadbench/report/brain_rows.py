"""A figure with rows of brain slices in three planes, all at the same scale."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uadbench.report.brains import deepest, outlined
from uadbench.report.figures import new_figure
from uadbench.results.examples import Examples
from uadbench.types import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, NAMES, GAP, HEADING = 7.2, 0.8, 0.08, 0.2
"""Sizes in inches: width of two journal columns, column of names, gap between blocks, line of headings."""

NAME_LETTERS, FOOT_LETTERS = 14, 190
"""Letters per line of a model's name, and of the text at the bottom."""

PLANES = (2, 1, 0)
"""The axis perpendicular to each slice: axial, coronal, sagittal."""


@dataclass(frozen=True)
class Scale:
    """A colour scale for all rows.

    Attributes:
        colours: Name of matplotlib's colour map.
        low: Value of the first colour.
        high: Value of the last colour.
        label: Label of the colour bar.
        of_map: Whether it is for maps, which are shown only in the brain.
        cuts: Whether values may lie outside the scale.
    """

    colours: str
    low: float
    high: float
    label: str
    of_map: bool = True
    cuts: bool = False


class BrainRows:
    """A figure with three columns of brains, filled from the top; slices go through the case's largest reduction.

    Args:
        examples: Grid, brain and case, which determine the position of the slices.
        rows: Number of rows that will be added.
        headings: Number of lines of headings.
    """

    def __init__(self, examples: Examples, rows: int, headings: int) -> None:
        self.brain = examples.brain
        self.reduction = examples.volumes["case"]["reduction"]
        self.outlined = outlined(examples.volumes["case"])
        self.affine = examples.affine
        position = np.array([*deepest(self.reduction, self.affine), 1.0])
        self.voxel = np.rint(np.linalg.solve(self.affine, position)[:3]).astype(int)
        inside = np.argwhere(self.brain)
        first, last = np.maximum(inside.min(0) - 1, 0), np.minimum(inside.max(0) + 2, self.brain.shape)
        self.crop = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        x, y, z = ((last - first) * np.diag(self.affine)[:3]).tolist()  # mm
        self.sizes = ((x, y), (x, z), (y, z))
        self.block = (WIDTH - NAMES - 3 * GAP) / 3
        self.inch = self.block / sum(width for width, _ in self.sizes)  # inches per millimetre
        self.height = max(y, z) * self.inch + GAP / 2
        self.total = (headings + 1) * HEADING + rows * self.height
        self.top = self.total
        self.figure = new_figure(WIDTH, self.total, layout=None)

    def headings(self, texts: Sequence[str]) -> None:
        """Add a line of headings above the next rows."""
        self.top -= HEADING
        for column, text in enumerate(texts):
            middle = self._left(column) + self.block / 2
            self._text(middle, self.top + 0.05, text, ha="center", va="bottom", fontsize=7)

    def foot(self, text: str) -> None:
        """Add one or two lines of text at the bottom."""
        lines = textwrap.fill(text, FOOT_LETTERS)
        self._text(0.04, 0.02, lines, va="bottom", fontsize=5.5, color="0.3")

    def row(self, name: str, *notes: str) -> None:
        """Start a row."""
        self.top -= self.height
        middle = self.top + self.height / 2
        lines = "\n".join(textwrap.wrap(name, NAME_LETTERS))
        self._text(0.04, middle + 0.02, lines, va="bottom", fontsize=7, fontweight="bold")
        self._text(0.04, middle - 0.02, "\n".join(notes), va="top", fontsize=5.5)

    def volume(self, column: int, volume: Volume, scale: Scale, annotated: bool = False) -> None:
        """Draw three slices of a volume; on maps, with the outline of the truth."""
        shown = np.where(self.brain, volume, np.nan) if scale.of_map else volume
        if not scale.of_map:
            self._axes(self._left(column), self.top + GAP / 4, self.block, self.height - GAP / 2).set(
                facecolor="black", xticks=[], yticks=[]
            )
        for axes, axis in self._planes(column):
            axes.imshow(
                self._slice(shown, axis),
                origin="lower",
                interpolation="nearest",
                aspect="auto",
                cmap=scale.colours,
                vmin=scale.low,
                vmax=scale.high,
            )
            if scale.of_map:
                axes.contour(self._slice(self.outlined, axis), levels=[0.5], colors="black", linewidths=0.4)
            if annotated:
                self._annotate(axes, axis)

    def missing(self, column: int) -> None:
        """Mark a block as empty, with the reason."""
        middle = self._left(column) + self.block / 2, self.top + self.height / 2
        self._text(*middle, "n/a: no reconstruction", ha="center", va="center", fontsize=6, color="0.45")

    def colour_bars(self, column: int, *scales: Scale) -> None:
        """Draw colour bars instead of slices, one below the other."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        room = self.height / len(scales)
        for number, scale in enumerate(scales, start=1):
            bottom = self.top + self.height - number * room + 0.6 * room
            axes = self._axes(self._left(column) + 0.15 * self.block, bottom, 0.7 * self.block, 0.06)
            colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
            extend = "both" if scale.cuts else "neither"
            bar = self.figure.colorbar(colours, cax=axes, orientation="horizontal", extend=extend)
            bar.ax.tick_params(labelsize=5, length=1.5, pad=1)
            bar.set_label(scale.label, fontsize=5.5, labelpad=1)
            bar.outline.set_linewidth(0.4)

    def _annotate(self, axes: Axes, axis: int) -> None:
        """Add the position of the slice, left and right, and a scale bar."""
        style: dict[str, Any] = {"transform": axes.transAxes, "color": "white", "fontsize": 4.5}
        millimetre = (self.affine @ np.array([*self.voxel, 1.0]))[axis]
        axes.text(0.03, 0.98, f"{'xyz'[axis]} = {millimetre:.0f}", va="top", **style)
        if axis != 0:
            axes.text(0.02, 0.5, "L", va="center", **style)
            axes.text(0.98, 0.5, "R", va="center", ha="right", **style)
        if axis == PLANES[0]:
            width = self.sizes[0][0]
            axes.plot([0.04, 0.04 + 50 / width], [0.05, 0.05], transform=axes.transAxes, color="white", linewidth=1)
            axes.text(0.06 + 50 / width, 0.05, "50 mm", va="center", **style)

    def _planes(self, column: int) -> Iterator[tuple[Axes, int]]:
        left = self._left(column)
        for axis, (width, height) in zip(PLANES, self.sizes, strict=True):
            size = width * self.inch, height * self.inch
            axes = self._axes(left, self.top + (self.height - size[1]) / 2, *size)
            axes.set_axis_off()
            yield axes, axis
            left += size[0]

    def _slice(self, volume: Volume, axis: int) -> Volume:
        kept = volume[tuple(self.crop[a] if a != axis else int(self.voxel[a]) for a in range(3))]
        return np.asarray(kept.T)

    def _left(self, column: int) -> float:
        return NAMES + column * (self.block + GAP)

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        frame = (left / WIDTH, bottom / self.total, width / WIDTH, height / self.total)
        return self.figure.add_axes(frame)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.figure.text(x / WIDTH, y / self.total, text, **style)
