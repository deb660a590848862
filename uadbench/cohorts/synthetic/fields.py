"""Smooth random fields on the phantom's grid, interpolated from random numbers on a coarse grid."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic.norms import BASE, millimetres

NODES = (11, 13, 11)
"""The shape of the coarse grid, with a spacing of 20 mm, centred on the midline."""

Sides = Literal["free", "same", "opposite"]


def draw_nodes(rng: np.random.Generator, fields: tuple[int, ...] = ()) -> npt.NDArray[np.float32]:
    """Draw the random numbers of fields.

    Args:
        rng: The random generator.
        fields: The shape of an array of fields; by default one field.

    Returns:
        (*fields, *NODES) float32, standard normal.
    """
    return rng.standard_normal((*fields, *NODES), dtype=np.float32)


def grow(nodes: npt.NDArray[np.float32], sides: Sides = "free") -> torch.Tensor:
    """Interpolate a smooth field.

    Args:
        nodes: NODES random numbers, from `draw_nodes`.
        sides: The relation of the right half to the left half: independent ("free"), the "same", or "opposite" in sign.

    Returns:
        (X, Y, Z) float32, with unit variance.
    """
    across, along, up = _bases()
    a, b, c = nodes.shape
    grown = torch.from_numpy(nodes).reshape(-1, c) @ up.T  # (a b, Z)
    grown = torch.matmul(along, grown.reshape(a, b, -1))  # (a, Y, Z)
    return (across[sides] @ grown.reshape(a, -1)).reshape(BASE.shape)


@cache
def _bases() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The interpolation matrix of each axis, (voxels, nodes): Gaussians of 12 mm SD around nodes, unit-norm rows."""
    hills = []
    for count, coordinate in zip(NODES, coordinates(), strict=True):
        middle = (float(coordinate.min()) + float(coordinate.max())) / 2
        nodes = middle + 20.0 * (torch.arange(count) - (count - 1) / 2)
        hills.append(torch.exp(-0.5 * ((coordinate.flatten()[:, None] - nodes) / 12.0) ** 2))
    x, y, z = (torch.nn.functional.normalize(basis, dim=1) for basis in hills)
    same = torch.nn.functional.normalize(x + x.flip(1), dim=1)
    opposite = (x - x.flip(1)) / 2**0.5  # 0 on the midline; normalising would cause a discontinuity there
    return {"free": x, "same": same, "opposite": opposite}, y, z


@cache
def coordinates() -> tuple[torch.Tensor, ...]:
    """The MNI coordinates of the phantom's grid, in mm, as three tensors that broadcast to its shape."""
    return tuple(torch.from_numpy(m) for m in millimetres())
