"""The mean healthy scan and the image, half and half."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from uadbench.models.base import ReconstructionModel, mean_image
from uadbench.types import Batch, Grid


class Halfway(ReconstructionModel):
    """Reconstructs a scan as a mixture of itself and the mean healthy scan.

    Args:
        part: Share of the mean scan.
    """

    mean: Tensor

    def __init__(self, grid: Grid, part: float = 0.5) -> None:
        super().__init__(grid)
        self.part = part
        self.register_buffer("mean", torch.zeros(grid.shape))

    def fit(self, batches: Iterable[Batch]) -> None:
        """The mean of the training scans."""
        self.mean.copy_(mean_image(batches))

    def reconstruct(self, batch: Batch) -> Tensor:
        """The mixture."""
        return self.part * self.mean + (1 - self.part) * batch.images
