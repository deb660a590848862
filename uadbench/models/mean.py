"""The mean healthy scan as reconstruction of every input (`mean`), a baseline."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from uadbench.models.base import ReconstructionModel, mean_image
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("mean")
class Mean(ReconstructionModel):
    """Reconstructs the mean healthy training scan for every input: healthy, but without individual anatomy."""

    family = "baseline"

    mean: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.register_buffer("mean", torch.zeros(grid.shape))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Average the training scans."""
        self.mean.copy_(mean_image(batches))

    def reconstruct(self, batch: Batch) -> Tensor:
        """The mean training scan, once for each image."""
        return self.mean.expand_as(batch.images).clone()
