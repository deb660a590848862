"""Reconstruction from the leading principal components of healthy scans (`pca_recon`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import ReconstructionModel, mean_image
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

HELD_VOXELS = 320_000_000
"""Largest number of values (1.3 GB) in a block of training scans; at most two blocks are in memory."""

COLUMNS = 128
"""Columns of the Gram matrix that are computed at once, from the diagonal down; the rest follows by symmetry."""


@register_model("pca_recon")
class PCARecon(ReconstructionModel):
    """The mean scan plus the scan's projection onto the leading principal components of healthy scans.

    Principal components of FDG PET are used in the scaled subprofile model (Moeller et al. 1987), here without its
    logarithm and without a disease group. They are computed from the Gram matrix of the scans, which is small, since
    there are far fewer scans than voxels.

    Args:
        components: Number of components; limited to the number of training scans less one.
    """

    reference = "Moeller et al. 1987, J Cereb Blood Flow Metab 7:649-658"
    family = "linear"
    mean: Tensor
    directions: Tensor

    def __init__(self, grid: Grid, components: Annotated[int, Field(ge=1)] = 4) -> None:
        super().__init__(grid)
        self.register_buffer("mean", torch.zeros(grid.size))
        self.register_buffer("directions", torch.zeros(components, grid.size))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Compute the mean scan and the principal components, from the eigenvectors of the Gram matrix.

        Components beyond the number of scans less one stay 0.
        """
        self.mean.copy_(mean_image(batches).flatten())
        gram = self._gram(batches)
        kept = min(len(self.directions), max(len(gram) - 1, 0))
        values, vectors = torch.linalg.eigh(gram)  # ascending
        scale = values[-kept:].clamp_min(values[-1] * 1e-7).sqrt() if kept else values[:0]
        weights = (vectors[:, -kept:] / scale).flip(1).float() if kept else vectors[:, :0].float()
        self.directions.zero_()
        start = 0
        for batch in batches:
            of_batch = weights[start : start + len(batch)].T
            self.directions[:kept].addmm_(of_batch, batch.images.flatten(1))
            start += len(batch)
        self.directions[:kept] -= weights.sum(dim=0)[:, None] * self.mean

    def reconstruct(self, batch: Batch) -> Tensor:
        """The mean scan plus the projection of the deviation from it."""
        off = batch.images.flatten(1) - self.mean
        return ((off @ self.directions.T) @ self.directions + self.mean).view_as(batch.images)

    def _gram(self, batches: Iterable[Batch]) -> Tensor:
        """Inner products of all pairs of centred scans, (S, S) float64; each pair is computed once, block by block."""
        count = sum(len(batch) for batch in batches)
        gram = torch.zeros(count, count, dtype=torch.float64, device=self.mean.device)
        for top, block in self._blocks(batches):
            stop = top + len(block)
            for begin in range(0, len(block), COLUMNS):
                columns = slice(top + begin, min(top + begin + COLUMNS, stop))
                gram[top + begin : stop, columns] = (block[begin:] @ block[begin : begin + COLUMNS].T).double()
            for below, others in self._blocks(batches, stop):
                gram[below : below + len(others), top:stop] = (others @ block.T).double()
        return gram.tril() + gram.tril(-1).T

    def _blocks(self, batches: Iterable[Batch], begin: int = 0) -> Iterator[tuple[int, Tensor]]:
        """Yield blocks of centred scans from scan `begin` on, each with the index of its first scan."""
        most = max(1, HELD_VOXELS // len(self.mean))
        left = sum(len(batch) for batch in batches) - begin
        block, filled, number = self.mean.new_empty(min(most, left), len(self.mean)), 0, 0
        for batch in batches:
            for scan in batch.images.flatten(1)[max(begin - number, 0) :]:
                torch.sub(scan, self.mean, out=block[filled])
                filled += 1
                if filled == len(block):
                    yield begin, block
                    begin, left = begin + filled, left - filled
                    block, filled = self.mean.new_empty(min(most, left), len(self.mean)), 0
            number += len(batch)
