"""Blocks of voxels as channels, and back: lower resolution and more channels make convolutions faster."""

from __future__ import annotations

from torch import Tensor

from uadbench.errors import InputError
from uadbench.types import Grid


def to_blocks(volumes: Tensor, size: int) -> Tensor:
    """Turn (N, C, X, Y, Z) into (N, C size³, X / size, Y / size, Z / size), channels-last; inverse of `to_voxels`."""
    n, c, x, y, z = volumes.shape
    parts = volumes.reshape(n, c, x // size, size, y // size, size, z // size, size)
    places = parts.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(n, x // size, y // size, z // size, c * size**3)
    return places.movedim(4, 1)


def to_voxels(blocks: Tensor, size: int) -> Tensor:
    """Turn (N, C size³, X, Y, Z) into (N, C, X size, Y size, Z size)."""
    n, c, x, y, z = blocks.shape
    parts = blocks.reshape(n, c // size**3, size, size, size, x, y, z).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(n, c // size**3, x * size, y * size, z * size)


def require_divisible(grid: Grid, factor: int, name: str) -> None:
    """Raise InputError unless every side of the grid is a multiple of `factor`."""
    if any(n % factor for n in grid.shape):
        raise InputError(f"{name}: the sides of the grid {grid} must be multiples of {factor}")
