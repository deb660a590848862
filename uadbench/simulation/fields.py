"""The lattice on which random masks are drawn, smooth random fields on it, and smoothing of masks."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from uadbench.simulation.hypometabolism import blur
from uadbench.space import atlas
from uadbench.types import Grid, Mask, Volume

CANVAS: Final = Grid((48, 56, 48), 4.0, (-94.0, -128.0, -76.0))
"""The MNI152 brain with a margin. Masks are drawn on this lattice, so that a draw is the same on every grid."""

VOXEL_CM3: Final = CANVAS.voxel_mm**3 / 1000


@cache
def forebrain() -> Mask:
    """The brain at a distance of a few millimetres from cerebellum, pons and medulla, on the canvas.

    SUVR is relative to the uptake in cerebellum and pons: an anomaly there would change the reference.
    AAL3 has neither pons nor medulla; an ellipsoid around both takes their place.
    """
    labels, affine = atlas.aal3()
    names = [name for name in atlas.region_ids() if name.startswith(("Cerebellum", "Vermis"))]
    cerebellum = np.isin(labels, [atlas.region_ids()[name] for name in names])
    near = blur(atlas.resample(cerebellum, affine, CANVAS.affine, CANVAS.shape), 1.5) > 0.1
    mm = [CANVAS.voxel_mm * np.arange(n) + start for n, start in zip(CANVAS.shape, CANVAS.origin, strict=True)]
    x, y, z = np.meshgrid(*mm, indexing="ij", sparse=True)
    stem = (x / 26) ** 2 + ((y + 32) / 22) ** 2 + ((z + 44) / 32) ** 2 < 1
    return np.asarray(atlas.brain_mask(CANVAS) & ~near & ~stem)


def smooth_field(seed: int, scale_mm: float) -> Volume:
    """A smooth random field with mean 0 and variance 1 on the canvas, (X, Y, Z) float32.

    White noise smoothed with a Gaussian of SD `scale_mm`, with periodic boundaries; the same seed gives the same field.
    """
    field = np.random.default_rng(seed).standard_normal(CANVAS.shape, dtype=np.float32)
    for matrix in reversed(_smoothing(scale_mm)):  # (X, Y, Z) -> (Z, X, Y) -> (Y, Z, X) -> (X, Y, Z)
        field = matrix @ field.reshape(-1, len(matrix)).T
    field = field.reshape(CANVAS.shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


@cache
def _smoothing(scale_mm: float) -> list[npt.NDArray[np.float32]]:
    """One circulant matrix per axis."""
    from scipy import ndimage

    sigma = scale_mm / CANVAS.voxel_mm
    return [
        np.asarray(ndimage.gaussian_filter1d(np.eye(n), sigma, axis=0, mode="wrap"), dtype=np.float32)
        for n in CANVAS.shape
    ]


def connected_to(mask: Mask, voxel: tuple[int, int, int]) -> Mask:
    """The connected component of a mask that contains a voxel; voxels are connected by faces."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    return np.asarray((parts == parts[voxel]) & mask)


def soften(mask: npt.NDArray[np.generic], sigma_mm: float) -> Volume:
    """The smoothed mask G(m) on the canvas, (X, Y, Z) float32 in 0..1."""
    return blur(np.asarray(mask, dtype=np.float32), sigma_mm / CANVAS.voxel_mm)


def onto(smoothed: Volume, grid: Grid) -> Volume:
    """Sample a smoothed mask linearly at the voxels of a grid, (X, Y, Z) float32 in 0..1; 0 outside the canvas."""
    return np.clip(atlas.resample(smoothed, CANVAS.affine, grid.affine, grid.shape), 0.0, 1.0)
