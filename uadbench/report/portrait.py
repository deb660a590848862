"""Figure of a cohort: some participants' scans, their mean, and the variation between participants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uadbench.cohorts.card.card import Card
from uadbench.cohorts.synthetic.norms import BASE
from uadbench.report.figures import new_figure
from uadbench.runtime.files import atomic_path
from uadbench.space import atlas
from uadbench.types import Volume

CUTS = {"axial": (2, 8.0), "coronal": (1, -30.0), "sagittal": (0, 6.0)}
"""Plane -> (axis, MNI mm)."""

TOP_SUVR, TOP_CV = 1.8, 0.2


def draw_portrait(card: Card, file: Path) -> None:
    """Draw scans in three planes, the mean, the voxelwise coefficient of variation, and any real average."""
    portrait = card.portrait
    figure: Any = new_figure(15, 7.2)
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    above.suptitle(f"{card.cohort}, version {card.version}: healthy scans, SUVR 0 to {TOP_SUVR}", fontsize=11)
    panels = above.subplots(len(CUTS), len(portrait.scans), squeeze=False)
    for column, (scan, name) in zip(panels.T, zip(portrait.scans, portrait.names, strict=True), strict=True):
        column[0].set_title(name, fontsize=7)
        for axes, plane in zip(column, CUTS, strict=True):
            _slice(axes, scan, plane, "inferno", TOP_SUVR)
    large: list[tuple[str, Volume | None, str, float]] = [
        (f"mean of {card.counts['healthy measured']} [SUVR]", portrait.mean, "inferno", TOP_SUVR),
        ("SD / mean between participants", portrait.variation, "viridis", TOP_CV),
        ("real average, scaled to the mean", _matched(portrait.reference, portrait.mean), "inferno", TOP_SUVR),
    ]
    shown = [(title, volume, colours, top) for title, volume, colours, top in large if volume is not None]
    blocks = np.ravel(below.subfigures(1, len(shown)))
    for block, (title, volume, colours, top) in zip(blocks, shown, strict=True):
        row = block.subplots(1, len(CUTS))
        for axes, plane in zip(row, CUTS, strict=True):
            image = _slice(axes, volume, plane, colours, top)
        block.colorbar(image, ax=list(row), shrink=0.6, fraction=0.05, pad=0.01)
        block.suptitle(title, fontsize=10)
    with atomic_path(file) as partial:
        figure.savefig(partial, dpi=100)


def _slice(axes: Any, volume: Volume, plane: str, colours: str, top: float) -> Any:
    axis, millimetre = CUTS[plane]
    position = round((millimetre - BASE.origin[axis]) / BASE.voxel_mm)
    axes.set_axis_off()
    return axes.imshow(volume.take(position, axis).T, origin="lower", cmap=colours, vmin=0, vmax=top)


def _matched(reference: Volume | None, mean: Volume | None) -> Volume | None:
    """The reference scaled to the mean's average in the brain, since its own unit is unknown."""
    if reference is None or mean is None:
        return None
    brain = atlas.brain_mask(BASE)
    return np.asarray(reference * (mean[brain].mean() / reference[brain].mean()), dtype=np.float32)
