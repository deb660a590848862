"""Normalisation of a network's input: deviation from the mean healthy scan, in units of the healthy variation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from uadbench.models.base import mean_image
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid


class Centring(nn.Module):
    """Subtracts the mean training scan and divides by the root mean square deviation from it in the brain.

    A network that works on deviations need not learn the black background and the average brain, which
    saves training time, and noise of variance 1 has the same size as the healthy variation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("mean", torch.zeros(grid.shape))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def learn(self, batches: Iterable[Batch]) -> None:
        """Compute the mean and the scale from healthy training scans."""
        mean = mean_image(batches)
        brain = torch.from_numpy(brain_mask(self.grid)).to(mean.device)
        squares, count = mean.new_zeros(()), 0
        for batch in batches:
            squares += (batch.images[:, 0] - mean)[:, brain].square().sum()
            count += len(batch)
        self.mean.copy_(mean)
        self.scale.copy_((squares / (count * brain.sum())).sqrt().clamp_min(1e-6))

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, 1, X, Y, Z) into deviations of the same shape."""
        return (images - self.mean) / self.scale

    def undo(self, deviations: Tensor) -> Tensor:
        """Turn deviations (N, 1, X, Y, Z) back into images."""
        return deviations * self.scale + self.mean
