"""Smooth random blobs that no dementia's mask contains: who has learnt the masks does not find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np

from uadbench.errors import Unfinished
from uadbench.simulation.fields import CANVAS, VOXEL_CM3, connected_to, forebrain, onto, smooth_field, soften
from uadbench.simulation.hypometabolism import smoothed_mask
from uadbench.space import atlas
from uadbench.types import Grid, Mask, Volume

REVISION: Final = 2
"""Raised by hand whenever the same draw would give another mask, or the same seed another draw."""

FIELD_MM: Final = 12.0
ROUGHNESS: Final = 0.2
"""How far the surface leaves the ellipsoid: SD of its smooth displacement, in radii."""

LEAST_CM3: Final = 15.0
"""What a blob keeps at least of its volume, once cut to the forebrain and to one piece."""

ATTEMPTS: Final = 1000


@dataclass(frozen=True)
class Blob:
    """What was drawn; `blob_mask` makes the same mask of it every time.

    Attributes:
        centre: MNI mm, in the grey matter of the forebrain.
        axes: Radii relative to their geometric mean.
        volume_cm3: Before it is cut to the forebrain.
        field_seed: Of the smooth field that displaces the surface.
    """

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    volume_cm3: float
    field_seed: int


def draw_blob(
    rng: np.random.Generator, volume_cm3: tuple[float, float], most_overlap: float, dementias: Sequence[str]
) -> Blob:
    """Draw blobs until one is acceptable.

    Args:
        volume_cm3: Smallest and largest volume; its logarithm is uniform.
        most_overlap: The largest share of the blob, before it is softened, that may lie in any one dementia's mask
            (G(m) > 0.5, softened by 5 mm).
        dementias: Whose masks these are.

    Raises:
        Unfinished: Where a thousand draws are not enough (an overlap near 0, say).
    """
    centres = np.argwhere(_grey())
    for _ in range(ATTEMPTS):
        centre = CANVAS.voxel_mm * centres[rng.integers(len(centres))] + CANVAS.origin
        stretch = rng.normal(0, 0.25, 3)
        low, high = np.log(volume_cm3)
        blob = Blob(
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            axes=tuple(np.round(np.exp(stretch - stretch.mean()), 4).tolist()),
            volume_cm3=round(float(np.exp(rng.uniform(low, high))), 2),
            field_seed=int(rng.integers(2**31)),
        )
        mask = _hard(blob)
        size = int(mask.sum())
        inside = max(float((mask & _dementia(name)).sum()) for name in dementias)
        if size * VOXEL_CM3 >= LEAST_CM3 and inside <= most_overlap * size:
            return blob
    raise Unfinished(f"no blob of {volume_cm3} cm3 with at most {most_overlap:.0%} in a dementia's mask was found")


def blob_mask(blob: Blob, grid: Grid, sigma_mm: float) -> Volume:
    """G(m) of a blob on a grid, (X, Y, Z) float32 in 0..1; the Gaussian is as wide as a dementia's."""
    return onto(soften(_hard(blob), sigma_mm), grid)


@lru_cache(maxsize=8)  # a draw looks at the mask that is asked for next
def _hard(blob: Blob) -> Mask:
    """The voxels of the canvas nearest to the centre, in radii, until the volume is full; in one piece."""
    radius = (3 * 1000 * blob.volume_cm3 / (4 * np.pi)) ** (1 / 3)
    squared = np.zeros((), dtype=np.float32)
    for axis in range(3):
        mm = CANVAS.voxel_mm * np.arange(CANVAS.shape[axis], dtype=np.float32) + np.float32(CANVAS.origin[axis])
        scaled = (mm - np.float32(blob.centre[axis])) / np.float32(radius * blob.axes[axis])
        squared = squared + (scaled**2).reshape([-1 if k == axis else 1 for k in range(3)])
    level = np.sqrt(squared) + np.float32(ROUGHNESS) * smooth_field(blob.field_seed, FIELD_MM)
    i, j, k = np.rint((np.array(blob.centre) - CANVAS.origin) / CANVAS.voxel_mm).astype(int).tolist()
    level[i, j, k] = -1.0  # the centre belongs to it, whatever the field says
    within = forebrain()
    wanted = max(1, min(round(blob.volume_cm3 / VOXEL_CM3), int(within.sum())))
    limit = np.partition(level[within], wanted - 1)[wanted - 1]
    return connected_to(within & (level <= limit), (i, j, k))


@cache
def _grey() -> Mask:
    grey, affine = atlas.tissue("grey")
    return forebrain() & (atlas.resample(grey, affine, CANVAS.affine, CANVAS.shape) > 0.5)


@cache
def _dementia(name: str) -> Mask:
    return np.asarray(smoothed_mask(name, CANVAS.affine, CANVAS.shape) > 0.5)
