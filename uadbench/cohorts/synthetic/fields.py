"""Smooth random fields on the base lattice, grown from a few random numbers."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic.norms import BASE, millimetres

NODES = (11, 13, 11)
"""Nodes of the 20 mm lattice from which fields grow, centred on the midline."""

Sides = Literal["free", "same", "opposite"]


def draw_nodes(rng: np.random.Generator, fields: tuple[int, ...] = ()) -> npt.NDArray[np.float32]:
    """Standard normal numbers for fields: (*fields, *NODES) float32."""
    return rng.standard_normal((*fields, *NODES), dtype=np.float32)


def grow(nodes: npt.NDArray[np.float32], sides: Sides = "free") -> torch.Tensor:
    """A smooth field (X, Y, Z) of unit variance from random NODES.

    `sides`: how the right half relates to the left: "free", the "same", or "opposite" in sign.
    """
    across, along, up = _bases()
    a, b, c = nodes.shape
    grown = torch.from_numpy(nodes).reshape(-1, c) @ up.T  # (a b, Z)
    grown = torch.matmul(along, grown.reshape(a, b, -1))  # (a, Y, Z)
    return (across[sides] @ grown.reshape(a, -1)).reshape(BASE.shape)


@cache
def _bases() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Per axis, (voxels, nodes): Gaussians of 12 mm SD around nodes 20 mm apart, rows of unit norm."""
    hills = []
    for count, coordinate in zip(NODES, coordinates(), strict=True):
        middle = (float(coordinate.min()) + float(coordinate.max())) / 2
        nodes = middle + 20.0 * (torch.arange(count) - (count - 1) / 2)
        hills.append(torch.exp(-0.5 * ((coordinate.flatten()[:, None] - nodes) / 12.0) ** 2))
    x, y, z = (torch.nn.functional.normalize(basis, dim=1) for basis in hills)
    same = torch.nn.functional.normalize(x + x.flip(1), dim=1)
    opposite = (x - x.flip(1)) / 2**0.5  # falls to 0 on the midline: normalising it would tear there
    return {"free": x, "same": same, "opposite": opposite}, y, z


@cache
def coordinates() -> tuple[torch.Tensor, ...]:
    """MNI millimetres of the base lattice, three tensors that broadcast to its shape."""
    return tuple(torch.from_numpy(m) for m in millimetres())
