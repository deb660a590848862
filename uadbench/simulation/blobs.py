"""Smooth random blobs away from the dementias, to test models on anomalies of unknown location and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np

from uadbench.errors import Unfinished
from uadbench.simulation.fields import CANVAS, VOXEL_CM3, connected_to, forebrain, onto, smooth_field, soften
from uadbench.simulation.hypometabolism import POSITIVE, smoothed_support
from uadbench.space import atlas
from uadbench.types import Grid, Mask, Volume

REVISION: Final = 3
"""Increased by hand whenever the same draw would give another mask, or the same seed another draw."""

FIELD_MM: Final = 12.0
ROUGHNESS: Final = 0.2
"""Roughness of the surface: SD of its smooth displacement from the ellipsoid, in radii."""

LEAST_CM3: Final = 15.0
"""Smallest volume of a blob after it is cut to the forebrain and to one component."""

ATTEMPTS: Final = 1000


@dataclass(frozen=True)
class Blob:
    """The parameters that were drawn; `blob_mask` computes the same mask from them every time.

    Attributes:
        centre: Position in MNI mm, in the grey matter of the forebrain.
        axes: Radii along the three axes, relative to their geometric mean.
        volume_cm3: Volume before the blob is cut to the forebrain, in cm3.
        field_seed: Seed of the smooth field that displaces the surface.
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
        rng: Source of the random numbers.
        volume_cm3: Smallest and largest volume in cm3; its logarithm is uniform.
        most_overlap: Largest fraction of the blob, before smoothing, that may lie in the truth of any one dementia
            (smoothed support > 0.5, by default values of `hypometabolism`).
        dementias: Names of the dementias whose truths the blob must avoid.

    Raises:
        Unfinished: If a thousand draws are not enough, for example because `most_overlap` is close to 0.
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
    raise Unfinished(f"found no blob of {volume_cm3} cm3 with at most {most_overlap:.0%} in a dementia's truth")


def blob_mask(blob: Blob, grid: Grid, sigma_mm: float) -> Volume:
    """G(m) of a blob on a grid, (X, Y, Z) float32 in 0..1; `sigma_mm` is the same as for dementias."""
    return onto(soften(_hard(blob), sigma_mm), grid)


@lru_cache(maxsize=8)  # drawing computes the mask that is needed next
def _hard(blob: Blob) -> Mask:
    """The blob before smoothing, on the canvas: the voxels nearest to the centre, in radii, in one component."""
    radius = (3 * 1000 * blob.volume_cm3 / (4 * np.pi)) ** (1 / 3)
    squared = np.zeros((), dtype=np.float32)
    for axis in range(3):
        mm = CANVAS.voxel_mm * np.arange(CANVAS.shape[axis], dtype=np.float32) + np.float32(CANVAS.origin[axis])
        scaled = (mm - np.float32(blob.centre[axis])) / np.float32(radius * blob.axes[axis])
        squared = squared + (scaled**2).reshape([-1 if k == axis else 1 for k in range(3)])
    level = np.sqrt(squared) + np.float32(ROUGHNESS) * smooth_field(blob.field_seed, FIELD_MM)
    i, j, k = np.rint((np.array(blob.centre) - CANVAS.origin) / CANVAS.voxel_mm).astype(int).tolist()
    level[i, j, k] = -1.0  # the centre always belongs to the blob
    within = forebrain()
    count = max(1, min(round(blob.volume_cm3 / VOXEL_CM3), int(within.sum())))
    limit = np.partition(level[within], count - 1)[count - 1]
    return connected_to(within & (level <= limit), (i, j, k))


@cache
def _grey() -> Mask:
    grey, affine = atlas.tissue("grey")
    return forebrain() & (atlas.resample(grey, affine, CANVAS.affine, CANVAS.shape) > 0.5)


@cache
def _dementia(name: str) -> Mask:
    return np.asarray(smoothed_support(name, CANVAS.affine, CANVAS.shape) > POSITIVE)
