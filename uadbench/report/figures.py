"""Figures of one run: an example case, scores against severity, and the training curve."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from uadbench.results.examples import EXAMPLES, has_examples, read_examples
from uadbench.results.schema import Result
from uadbench.runtime.files import atomic_path, require_inside
from uadbench.types import UNSEEN, Affine, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = "figures"
DPI = 110
FEW_EPOCHS, MANY_EPOCHS = 20, 200
"""Up to the first number of epochs, curves have points (one epoch makes no line); above the second, they are thin."""
ROWS = (
    ("healthy", "healthy scan x"),
    ("altered", "altered x'"),
    ("from_altered", "reconstruction x̂'"),
    ("reduction", "true reduction"),
    ("native_map", "native map"),
    ("standard_map", "standard map"),
)


def draw_figures(result: Result, folder: Path) -> list[Path]:
    """Draw all figures of a run into its folder `figures`, and return the PNG files."""
    figures = {"severity": severity_figure(result)}
    if result.training:
        figures["training"] = training_figure(result)
    if has_examples(folder):
        figures["example"] = example_figure(folder / EXAMPLES, result.model.name)
    files = []
    require_inside(folder, folder / FIGURES / "x.png")
    for name, figure in figures.items():
        file = folder / FIGURES / f"{name}.png"
        with atomic_path(file) as partial:
            figure.savefig(partial, dpi=DPI)
        files.append(file)
    return files


def figures_of(folder: Path) -> list[Path]:
    """The existing figures of a run folder.

    Raises:
        InputError: If a path leads outside the run folder.
    """
    files = [folder / FIGURES / f"{name}.png" for name in ("severity", "training", "example")]
    require_inside(folder, *files)
    return [file for file in files if os.path.lexists(file)]


def severity_figure(result: Result) -> Figure:
    """Draw average precision and restoration error against severity, one line per test set."""
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    severities = result.severities
    percent = [100 * s for s in severities]
    for anomaly in [*result.dementias, UNSEEN]:
        for axes, metric in ((left, "ap.standard"), (right, "restoration.whole.mse")):
            values = [result.metric(anomaly, s, metric) for s in severities]
            axes.plot(percent, [np.nan if v is None else v for v in values], marker="o", markersize=3, label=anomaly)
    left.set(ylabel="average precision, standard map", ylim=(0, 1))
    right.set(ylabel="MSE(x̂', x), whole volume")
    if result.headline.prevalence is not None:
        left.axhline(result.headline.prevalence, color="0.5", linestyle=":", label="chance (mean prevalence)")
    if result.headline.healthy_mse is not None:
        right.axhline(result.headline.healthy_mse, color="0.5", linestyle=":", label="healthy scans")
    if not result.model.reconstructs:
        right.text(0.5, 0.5, "n/a: no reconstruction", transform=right.transAxes, ha="center")
    for axes in (left, right):
        axes.set(xlabel="severity [%]")
        axes.grid(alpha=0.3)
    right.set_ylim(bottom=0)
    left.legend(fontsize=7)
    figure.suptitle(f"{result.model.name} on {result.cohort.name}, protocol {result.protocol.name}", fontsize=10)
    return figure


def training_figure(result: Result) -> Figure:
    """Draw every loss by epoch in a separate panel, since losses differ in scale and sign; then the validation MSE."""
    training = result.training
    assert training is not None
    names = list(dict.fromkeys(name for losses in training.losses for name in losses))
    curves = {f"loss '{name}'": [losses.get(name) for losses in training.losses] for name in names}
    curves["validation MSE, healthy scans"] = training.validation_mse
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(3.4 * columns, 0.6 + 2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    for axes, (title, curve) in zip(panels.flat, curves.items(), strict=False):
        _training_panel(axes, title, np.array(curve, dtype=float), training.best_epoch)
    if training.best_epoch is None:
        why = "not monitored" if result.model.reconstructs else "no reconstruction"
        axes.text(0.5, 0.5, f"n/a: {why}", transform=axes.transAxes, ha="center", fontsize=9)
    kept = "the last weights were kept" if training.best_epoch is None else "dotted: the epoch that was kept"
    figure.suptitle(f"{result.model.name}, {result.protocol.name}; {kept}", fontsize=10)
    return figure


def _training_panel(axes: Axes, title: str, values: npt.NDArray[np.float64], best_epoch: int | None) -> None:
    """Draw one curve, on a logarithmic axis if its values range widely (symmetric-logarithmic if some are negative)."""
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8, labelbottom=True)  # the panel below may be empty
    finite = values[np.isfinite(values)]
    if not len(finite):
        axes.set_yticks([])
        return
    marker, width = ("o", 1.2) if len(finite) <= FEW_EPOCHS else ("", 1.2 if len(finite) <= MANY_EPOCHS else 0.6)
    axes.plot(range(1, len(values) + 1), values, marker=marker, markersize=3, linewidth=width, color="#0072b2")
    low, high, usual = float(finite.min()), float(finite.max()), float(np.median(np.abs(finite)))
    if low > 0:
        axes.set_yscale("log" if high > 10 * low else "linear")
    elif usual > 0 and max(-low, high) > 100 * usual:
        axes.set_yscale("symlog", linthresh=10 * usual)
    if low < 0 < high:
        axes.axhline(0, color="0.6", linewidth=0.8)
    if best_epoch is not None:
        axes.axvline(best_epoch + 1, color="0.5", linestyle=":")
    axes.grid(alpha=0.3)


def example_figure(file: Path, model: str) -> Figure:
    """Draw one altered scan in three planes: input, reconstruction, truth, native and standard map."""
    examples = read_examples(file)
    return volumes_figure(examples.volumes["case"], examples.affine, f"{model}: {examples.titles['case']}")


def volumes_figure(volumes: Mapping[str, Volume], affine: Affine, title: str) -> Figure:
    """A case and what a model makes of it in three planes through its deepest voxel.

    Args:
        volumes: As from `evaluation.pictures.case_volumes`, (X, Y, Z) each.
        affine: (4, 4), voxels to MNI mm.
        title: What stands above.
    """
    rows = [(key, label) for key, label in ROWS if key in volumes]
    deepest = np.unravel_index(int(volumes["reduction"].argmax()), volumes["reduction"].shape)
    top = float(np.percentile(volumes["healthy"], 99.8))
    figure = new_figure(2.2 * len(rows), 6.4)
    grid = figure.subplots(3, len(rows))
    for column, (key, label) in enumerate(rows):
        limit = float(np.percentile(np.abs(volumes[key]), 99.8)) or 1.0
        scale: dict[str, Any] = {"cmap": "gray", "vmin": 0.0, "vmax": top}
        if key == "reduction":
            scale = {"cmap": "magma", "vmin": 0.0, "vmax": float(volumes[key].max()) or 1.0}
        elif key.endswith("map"):
            scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        for row, axis in enumerate((2, 1, 0)):
            axes = grid[row, column]
            slice_ = np.take(volumes[key], deepest[axis], axis=axis)
            drawn = axes.imshow(slice_.T, origin="lower", interpolation="nearest", **scale)
            axes.set(xticks=[], yticks=[])
            if column == 0:
                millimetres = affine[axis, 3] + affine[axis, axis] * deepest[axis]
                axes.set_ylabel(f"{'xyz'[axis]} = {millimetres:.0f} mm", fontsize=8)
                if axis != 0:
                    axes.text(0.02, 0.5, "L", transform=axes.transAxes, color="white", fontsize=8)
        grid[0, column].set_title(label, fontsize=9)
        figure.colorbar(
            drawn, ax=list(grid[:, column]), orientation="horizontal", fraction=0.03, pad=0.02
        ).ax.tick_params(labelsize=6)
    figure.suptitle(title, fontsize=10)
    return figure


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Create a figure without display and global state; without a layout, the caller places the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure
