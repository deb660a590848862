"""Noise with a grain: what a denoiser learns to remove must be as large as what it shall find."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from uadbench.models.base import seeded_normal
from uadbench.types import Grid


def coarse_noise(seeds: Sequence[int], grid: Grid, grain_mm: float, device: torch.device | str = "cpu") -> Tensor:
    """Gaussian noise (N, 1, X, Y, Z), drawn every `grain_mm` and interpolated, root mean square 1 in each volume.

    Kascenas et al. 2022 draw it at a low resolution and upsample it; a grain of a voxel or less is
    white noise. Row i depends on seeds[i] alone.
    """
    nodes = tuple(min(n, math.ceil(n * grid.voxel_mm / grain_mm)) for n in grid.shape)
    noise = seeded_normal(seeds, (1, *nodes), device)
    if nodes != grid.shape:
        noise = F.interpolate(noise, size=grid.shape, mode="trilinear", align_corners=False)
    return noise / noise.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt().clamp_min(1e-6)
