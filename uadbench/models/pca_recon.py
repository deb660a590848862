"""Principal components: reconstructs what a few directions of healthy variation can say of a scan."""

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
"""So many numbers (1.3 GB) of the training scans make a block; two blocks are in memory at most."""

COLUMNS = 128
"""Of the Gram matrix, computed at once: what lies above its diagonal is not."""


@register_model("pca_recon")
class PCARecon(ReconstructionModel):
    """The mean scan plus the scan's projection on the leading principal components of healthy scans.

    Principal components of FDG PET are those of the scaled subprofile model (Moeller et al. 1987), here without its
    logarithm and without a disease group. They come from the Gram matrix of the scans, which are far fewer than their
    voxels: one product, one small eigenproblem, one more product.

    Args:
        components: How many; as many as there are scans at most.
    """

    reference = "Moeller et al. 1987, J Cereb Blood Flow Metab 7:649-658"
    mean: Tensor
    directions: Tensor

    def __init__(self, grid: Grid, components: Annotated[int, Field(ge=1)] = 4) -> None:
        super().__init__(grid)
        self.register_buffer("mean", torch.zeros(grid.size))
        self.register_buffer("directions", torch.zeros(components, grid.size))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Mean, Gram matrix, its leading eigenvectors, and the directions in voxels that belong to them.

        Directions beyond the number of scans less one stay 0.
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
        """The mean plus the projection of what differs from it."""
        off = batch.images.flatten(1) - self.mean
        return ((off @ self.directions.T) @ self.directions + self.mean).view_as(batch.images)

    def _gram(self, batches: Iterable[Batch]) -> Tensor:
        """Products of all pairs of centred scans, (S, S) float64: each pair once, block by block."""
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
        """Centred scans from the `begin`-th on, as many at once as may be held, with the number of the first."""
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
