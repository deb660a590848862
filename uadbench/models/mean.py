"""The population mean: reconstructs the average healthy scan."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from uadbench.models.base import ReconstructionModel
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("mean")
class Mean(ReconstructionModel):
    """Reconstructs the average healthy scan: perfectly healthy, and keeps nobody's identity."""

    mean: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.register_buffer("mean", torch.zeros(grid.shape))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Average the training scans, voxel by voxel, in float64."""
        total, count = torch.zeros_like(self.mean, dtype=torch.float64), 0
        for batch in batches:
            total += batch.images[:, 0].sum(0, dtype=torch.float64)
            count += len(batch)
        self.mean.copy_(total / count)

    def reconstruct(self, batch: Batch) -> Tensor:
        """The mean, whatever the images are."""
        return self.mean.expand_as(batch.images).clone()
