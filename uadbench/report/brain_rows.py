"""Rows of brains in three planes, all at one scale: a figure that is filled from the top."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uadbench.report.brains import deepest
from uadbench.report.figures import new_figure
from uadbench.results.examples import Examples
from uadbench.types import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, NAMES, GAP, HEADING = 7.2, 0.8, 0.08, 0.2
"""Inches: a journal's two columns, the column of names, between blocks, a line of headings."""

NAME_LETTERS, FOOT_LETTERS = 14, 190
"""Of a model's name, and of the text below all, on one line."""

PLANES = (2, 1, 0)
"""The axis across each slice: axial, coronal, sagittal."""


@dataclass(frozen=True)
class Scale:
    """One colour scale, for all rows; a map is shown in the brain alone, and values beyond its ends may be cut."""

    colours: str
    low: float
    high: float
    label: str
    of_map: bool = True
    cuts: bool = False


class BrainRows:
    """A figure of three columns of brains; slices go through the largest reduction of the examples' case.

    Args:
        examples: Whose grid, brain and case decide where the slices lie.
        rows: How many will be filled.
        headings: How many lines of headings will stand above them.
    """

    def __init__(self, examples: Examples, rows: int, headings: int) -> None:
        self.brain = examples.brain
        self.reduction = examples.volumes["case"]["reduction"]
        self.affine = examples.affine
        place = np.array([*deepest(self.reduction, self.affine), 1.0])
        self.voxel = np.rint(np.linalg.solve(self.affine, place)[:3]).astype(int)
        inside = np.argwhere(self.brain)
        first, last = np.maximum(inside.min(0) - 1, 0), np.minimum(inside.max(0) + 2, self.brain.shape)
        self.crop = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        x, y, z = ((last - first) * np.diag(self.affine)[:3]).tolist()  # mm
        self.sizes = ((x, y), (x, z), (y, z))
        self.block = (WIDTH - NAMES - 3 * GAP) / 3
        self.inch = self.block / sum(width for width, _ in self.sizes)  # one millimetre
        self.height = max(y, z) * self.inch + GAP / 2
        self.total = (headings + 1) * HEADING + rows * self.height
        self.top = self.total
        self.figure = new_figure(WIDTH, self.total, layout=None)

    def headings(self, texts: Sequence[str]) -> None:
        """A line above the next rows."""
        self.top -= HEADING
        for column, text in enumerate(texts):
            middle = self._left(column) + self.block / 2
            self._text(middle, self.top + 0.05, text, ha="center", va="bottom", fontsize=7)

    def foot(self, text: str) -> None:
        """The last one or two lines."""
        lines = textwrap.fill(text, FOOT_LETTERS)
        self._text(0.04, 0.02, lines, va="bottom", fontsize=5.5, color="0.3")

    def row(self, name: str, *notes: str) -> None:
        """Begin a row."""
        self.top -= self.height
        middle = self.top + self.height / 2
        lines = "\n".join(textwrap.wrap(name, NAME_LETTERS))
        self._text(0.04, middle + 0.02, lines, va="bottom", fontsize=7, fontweight="bold")
        self._text(0.04, middle - 0.02, "\n".join(notes), va="top", fontsize=5.5)

    def volume(self, column: int, volume: Volume, scale: Scale, signposts: bool = False) -> None:
        """Three slices of a volume; a map with the outline of what is sought."""
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
                relative = self._slice(self.reduction, axis) / self.reduction.max()
                axes.contour(relative, levels=[0.5], colors="black", linewidths=0.4)
            if signposts:
                self._signposts(axes, axis)

    def missing(self, column: int) -> None:
        """An empty cell, and why."""
        middle = self._left(column) + self.block / 2, self.top + self.height / 2
        self._text(*middle, "n/a: no reconstruction", ha="center", va="center", fontsize=6, color="0.45")

    def colour_bars(self, column: int, *scales: Scale) -> None:
        """Colour scales instead of slices, one below the other."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        room = self.height / len(scales)
        for place, scale in enumerate(scales, start=1):
            bottom = self.top + self.height - place * room + 0.6 * room
            axes = self._axes(self._left(column) + 0.15 * self.block, bottom, 0.7 * self.block, 0.06)
            colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
            extend = "both" if scale.cuts else "neither"
            bar = self.figure.colorbar(colours, cax=axes, orientation="horizontal", extend=extend)
            bar.ax.tick_params(labelsize=5, length=1.5, pad=1)
            bar.set_label(scale.label, fontsize=5.5, labelpad=1)
            bar.outline.set_linewidth(0.4)

    def _signposts(self, axes: Axes, axis: int) -> None:
        """Where the slice lies, left and right, and a scale bar."""
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
