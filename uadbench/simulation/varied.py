"""Variable dementias: a connected part of the regions, on one side or both, warped, smoothed, of any severity.

Hassanaly et al. 2023, section 4, propose this: sub-regions, and random severity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np

from uadbench.errors import Unfinished
from uadbench.simulation.fields import CANVAS, VOXEL_CM3, forebrain, onto, smooth_field, soften
from uadbench.simulation.regions import dementia
from uadbench.space import atlas
from uadbench.types import Grid, Volume

REVISION: Final = 2
"""Increased by hand whenever the same draw would give another mask, or the same seed another draw."""

WARP_SCALE_MM: Final = 20.0
LEAST_CM3: Final = 10.0
"""Smallest volume of the ground truth; smaller anomalies are drawn again."""

ATTEMPTS: Final = 100
_SIDES: Final = {"left": ("_L",), "right": ("_R",), "both": ("_L", "_R")}


@dataclass(frozen=True)
class Variation:
    """The parameters that were drawn; `variation_mask` computes the same mask from them every time.

    Attributes:
        dementia: The dementia that the regions belong to.
        regions: AAL3 names, with _L or _R.
        severity: Nominal severity, 0.3 for 30 %.
        sigma_mm: SD of the Gaussian that smooths the mask, in mm.
        warp_mm: SD of the smooth displacement along each axis, in mm.
        warp_seed: Seed of the displacement field.
    """

    dementia: str
    regions: tuple[str, ...]
    severity: float
    sigma_mm: float
    warp_mm: float
    warp_seed: int


def draw_variation(
    rng: np.random.Generator,
    dementias: Sequence[str],
    severity: tuple[float, float],
    sigma_mm: tuple[float, float],
    warp_mm: float,
) -> Variation:
    """Draw until the ground truth is large enough.

    Args:
        rng: Source of the random numbers.
        dementias: Names of the dementias to choose from.
        severity: Smallest and largest severity; the distribution is uniform.
        sigma_mm: Smallest and largest SD of the Gaussian that smooths the mask, in mm; the distribution is uniform.
        warp_mm: SD of the smooth displacement along each axis, in mm.

    Raises:
        Unfinished: If a hundred draws are not enough.
    """
    for _ in range(ATTEMPTS):
        name = dementias[int(rng.integers(len(dementias)))]
        names = sorted({region.region for region in dementia(name).regions})
        side = list(_SIDES)[int(rng.integers(len(_SIDES)))]
        chosen = _connected(names, int(rng.integers(1, len(names) + 1)), rng)
        variation = Variation(
            dementia=name,
            regions=tuple(region + suffix for region in chosen for suffix in _SIDES[side]),
            severity=round(float(rng.uniform(*severity)), 4),
            sigma_mm=round(float(rng.uniform(*sigma_mm)), 3),
            warp_mm=warp_mm,
            warp_seed=int(rng.integers(2**31)),
        )
        truth = (_soft(variation) > 0.5) & forebrain()
        if truth.sum() * VOXEL_CM3 >= LEAST_CM3:
            return variation
    raise Unfinished(f"found no variation of {', '.join(dementias)} of at least {LEAST_CM3:g} cm3")


def variation_mask(variation: Variation, grid: Grid) -> Volume:
    """G(m) of a variation on a grid, (X, Y, Z) float32 in 0..1."""
    return onto(_soft(variation), grid)


def _connected(names: list[str], size: int, rng: np.random.Generator) -> list[str]:
    """Choose a random region, and then neighbours one after the other, until there are `size` or no more neighbours."""
    chosen = [names[int(rng.integers(len(names)))]]
    while len(chosen) < size:
        edge = [n for n in names if n not in chosen and any(frozenset((n, c)) in _neighbours() for c in chosen)]
        if not edge:
            break
        chosen.append(edge[int(rng.integers(len(edge)))])
    return sorted(chosen)


@lru_cache(maxsize=8)  # drawing computes the mask that is needed next
def _soft(variation: Variation) -> Volume:
    """The warped regions, smoothed, on the canvas: each voxel takes the label at its displaced position."""
    labels, affine = atlas.aal3()
    to_voxels = np.linalg.solve(affine, CANVAS.affine)
    warp = [variation.warp_mm * smooth_field(variation.warp_seed + axis, WARP_SCALE_MM) for axis in range(3)]
    from_mm = np.linalg.inv(affine[:3, :3])
    positions = []
    for axis, size in enumerate(labels.shape):
        position = np.full(CANVAS.shape, to_voxels[axis, 3], dtype=np.float32)
        for other, count in enumerate(CANVAS.shape):
            step = np.float32(to_voxels[axis, other]) * np.arange(count, dtype=np.float32)
            position += step.reshape([-1 if k == other else 1 for k in range(3)])
            if from_mm[axis, other]:
                position += np.float32(from_mm[axis, other]) * warp[other]
        # the border of AAL3 has no region
        positions.append(np.clip(np.rint(position, out=position), 0, size - 1, out=position).astype(np.intp))
    chosen = np.zeros(256, dtype=bool)
    chosen[[atlas.region_ids()[name] for name in variation.regions]] = True
    return soften(chosen[labels[tuple(positions)]], variation.sigma_mm)


@cache
def _neighbours() -> frozenset[frozenset[str]]:
    """Pairs of regions, without _L or _R, whose left voxels lie within 4 mm of each other along an axis."""
    labels = atlas.aal3()[0][::2, ::2, ::2]
    name_of = {number: name.removesuffix("_L") for name, number in atlas.region_ids().items() if name.endswith("_L")}
    pairs: set[frozenset[str]] = set()
    for axis in range(3):
        for step in (1, 2):
            here = np.moveaxis(labels, axis, 0)[:-step].astype(np.int64)
            there = np.moveaxis(labels, axis, 0)[step:].astype(np.int64)
            met = np.unique(here * 256 + there)
            for first, second in ((int(code) // 256, int(code) % 256) for code in met):
                if first != second and first in name_of and second in name_of:
                    pairs.add(frozenset((name_of[first], name_of[second])))
    return frozenset(pairs)
