"""Slices of a volume in one plane, and interpolation of their patches' scores to a map of the volume."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from uadbench.space.atlas import brain_mask
from uadbench.types import Grid

PLANES = ("sagittal", "coronal", "axial")
"""Names of the planes; the position is the axis of the volume that the plane is perpendicular to."""


class Plane:
    """Parallel slices through the brain, resampled to pixels, and patches on them.

    Slices and pixels are centred on the box that encloses the brain. Patch (i, j) of a slice is centred on pixel
    (i * stride, j * stride), and the last patch on the last pixel; the features of a convolutional network with odd
    kernels are centred in this way if the side of the image is a multiple of its stride plus one pixel. Only patches
    whose score affects a voxel of the brain are kept.

    Attributes:
        shape: (slices, rows of patches, columns of patches).
        kept: Indices of the kept patches in the flattened `shape`, (P,) int64.

    Args:
        grid: The lattice of the volumes.
        axis: The axis perpendicular to the slices, 0 to 2.
        spacing_mm: Distance between slices, in mm. Each slice is an average of the volume with triangular weights of
            this half-width.
        pixel_mm: Side of a pixel, in mm.
        stride: Distance between patches, in pixels.
        coarsest: The side of a slice, less one pixel, is a multiple of this number, itself a multiple of `stride`.
    """

    def __init__(self, grid: Grid, axis: int, spacing_mm: float, pixel_mm: float, stride: int, coarsest: int) -> None:
        self.axis = axis
        brain = np.moveaxis(brain_mask(grid), axis, 0)
        sampling, lifting = [], []
        for direction in range(3):
            seen = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {direction})))
            low, high = float(seen[0]), float(seen[-1])
            if direction == 0:
                step = spacing_mm / grid.voxel_mm
                count, every = int((high - low) / step) + 1, 1
            else:
                step = pixel_mm / grid.voxel_mm
                count, every = coarsest * math.ceil((high - low) / step / coarsest) + 1, stride
            points = (low + high) / 2 + step * (torch.arange(count) - (count - 1) / 2)
            voxels = torch.arange(brain.shape[direction], dtype=torch.float32)
            sampling.append(triangles(points, voxels, max(step, 1.0)))
            lifting.append(triangles(voxels, points[::every], step * every))
        self._sampling, self._lifting = tuple(sampling), tuple(lifting)
        self.shape = tuple(weights.shape[1] for weights in lifting)
        reach = torch.einsum("abc,as,bh,cw->shw", torch.from_numpy(brain).float(), *lifting)
        self.kept = reach.flatten().nonzero().squeeze(1)

    def cut(self, images: Tensor) -> Tensor:
        """Slices of images (N, 1, X, Y, Z), as (N, S, H, W) in the same unit."""
        volumes = images[:, 0].movedim(self.axis + 1, 1)
        return _along_axes(volumes, [weights.to(images.device) for weights in self._sampling])

    def lift(self, scores: Tensor) -> Tensor:
        """Interpolate scores of the kept patches (N, P) linearly between patches and slices, to (N, 1, X, Y, Z).

        Voxels outside the brain are 0 if no kept patch is near.
        """
        patches = scores.new_zeros(len(scores), math.prod(self.shape))
        patches[:, self.kept.to(scores.device)] = scores
        weights = [each.to(scores.device) for each in self._lifting]
        volumes = _along_axes(patches.view(-1, *self.shape), weights)
        return volumes.movedim(1, self.axis + 1)[:, None]


def triangles(points: Tensor, nodes: Tensor, half_width: float) -> Tensor:
    """Weights (points, nodes) of triangles around `points`; each row has sum 1, or 0 if no node is near.

    With evenly spaced nodes at a distance of `half_width`, this is linear interpolation between them, and beyond the
    outermost node its value; with closer nodes, it is a weighted mean.
    """
    weights = (1 - (points[:, None] - nodes[None]).abs() / half_width).clamp_min(0)
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)


def _along_axes(volumes: Tensor, weights: list[Tensor]) -> Tensor:
    """Apply one matrix (out, in) to each axis of volumes (N, A, B, C)."""
    return torch.einsum("nabc,sa,hb,wc->nshw", volumes, *weights)
