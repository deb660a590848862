"""Spatially smooth noise for denoising models; its grain should be as large as the anomalies to be detected."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from uadbench.models.base import seeded_normal
from uadbench.types import Grid


def coarse_noise(seeds: Sequence[int], grid: Grid, grain_mm: float, device: torch.device | str = "cpu") -> Tensor:
    """Gaussian noise (N, 1, X, Y, Z), smoothed to a FWHM of `grain_mm`, root mean square 1 in each volume.

    Kascenas et al. 2022 draw noise at a low resolution and interpolate it. Interpolated noise is piecewise linear; a
    network can recognise that and learns to remove it, instead of what is unexpected in a brain. Smoothed noise does
    not have this property. A grain of 0 gives white noise. Row i depends only on seeds[i].
    """
    noise = seeded_normal(seeds, (1, *grid.shape), device)
    sigma = grain_mm / grid.voxel_mm / math.sqrt(8 * math.log(2))
    if sigma > 0:
        x, y, z = (_smoothing(n, sigma).to(noise.device) for n in grid.shape)
        noise = (x @ noise.flatten(3)).view_as(noise)  # along X: (X, X) times (N, 1, X, Y * Z)
        noise = y @ noise @ z
    return noise / noise.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt().clamp_min(1e-6)


def _smoothing(size: int, sigma: float) -> Tensor:
    """The symmetric matrix (size, size) that convolves with a Gaussian of `sigma` voxels."""
    place = torch.arange(size, dtype=torch.float32)
    return torch.exp(-0.5 * ((place[:, None] - place[None]) / sigma).square())
