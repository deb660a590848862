"""Smooth random fields on the phantom's grid, interpolated from random numbers on a coarser grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic.norms import BASE, millimetres


@dataclass(frozen=True)
class Nodes:
    """A grid of random numbers, centred on the midline.

    Attributes:
        shape: Its shape.
        spacing_mm: Its spacing.
        width_mm: The SD of the Gaussian around each node.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    width_mm: float


COARSE = Nodes((11, 13, 11), 20.0, 12.0)
FINE = Nodes((15, 18, 16), 14.0, 9.5)
"""The grid for differences between single gyri."""

Sides = Literal["free", "same", "opposite"]


def draw_nodes(rng: np.random.Generator, fields: tuple[int, ...] = (), on: Nodes = COARSE) -> npt.NDArray[np.float32]:
    """Draw the random numbers of fields.

    Args:
        rng: The random generator.
        fields: The shape of an array of fields; by default one field.
        on: The grid of nodes.

    Returns:
        (*fields, *on.shape) float32, standard normal.
    """
    return rng.standard_normal((*fields, *on.shape), dtype=np.float32)


def grow(nodes: npt.NDArray[np.float32], sides: Sides = "free", on: Nodes = COARSE) -> torch.Tensor:
    """Interpolate a smooth field.

    Args:
        nodes: Random numbers from `draw_nodes`, of the shape of `on`.
        on: The grid of nodes.
        sides: The relation of the right half to the left half: independent ("free"), the "same", or "opposite" in sign.

    Returns:
        (X, Y, Z) float32, with unit variance.
    """
    across, along, up = _bases(on)
    a, b, c = nodes.shape
    grown = torch.from_numpy(nodes).reshape(-1, c) @ up.T  # (a b, Z)
    grown = torch.matmul(along, grown.reshape(a, b, -1))  # (a, Y, Z)
    return (across[sides] @ grown.reshape(a, -1)).reshape(BASE.shape)


@cache
def _bases(on: Nodes) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The interpolation matrix of each axis, (voxels, nodes): Gaussians around nodes, with unit-norm rows."""
    hills = []
    for count, coordinate in zip(on.shape, coordinates(), strict=True):
        middle = (float(coordinate.min()) + float(coordinate.max())) / 2
        nodes = middle + on.spacing_mm * (torch.arange(count) - (count - 1) / 2)
        hills.append(torch.exp(-0.5 * ((coordinate.flatten()[:, None] - nodes) / on.width_mm) ** 2))
    x, y, z = (torch.nn.functional.normalize(basis, dim=1) for basis in hills)
    same = torch.nn.functional.normalize(x + x.flip(1), dim=1)
    opposite = (x - x.flip(1)) / 2**0.5  # 0 on the midline; normalising would cause a discontinuity there
    return {"free": x, "same": same, "opposite": opposite}, y, z


@cache
def coordinates() -> tuple[torch.Tensor, ...]:
    """The MNI coordinates of the phantom's grid, in mm, as three tensors that broadcast to its shape."""
    return tuple(torch.from_numpy(m) for m in millimetres())
