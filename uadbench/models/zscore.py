"""The voxelwise z-score (`zscore`): how many standard deviations uptake lies below the healthy mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import Model, mean_image
from uadbench.registry import register_model
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid


@register_model("zscore")
class ZScore(Model):
    """Standard deviations below the healthy mean, voxel by voxel: the method of clinical software.

    After Minoshima et al. 1995, J Nucl Med 36:1238 (3D-SSP), without the surface projection.
    The model gives a map and no reconstruction.

    Args:
        sd_floor: Smallest standard deviation, as a fraction of the median over the brain. It prevents extreme scores in
            voxels that hardly vary.
    """

    reference = "Minoshima et al. 1995, J Nucl Med 36:1238-1248"
    family = "baseline"
    recipes: ClassVar = {"quick": {"sd_floor": 1.0}}
    mean: Tensor
    sd: Tensor

    def __init__(self, grid: Grid, sd_floor: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        super().__init__(grid)
        self.sd_floor = sd_floor
        self.register_buffer("mean", torch.zeros(grid.shape))
        self.register_buffer("sd", torch.ones(grid.shape))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Compute mean and unbiased standard deviation, in two passes in float64."""
        mean = mean_image(batches)
        squares, count = torch.zeros_like(mean), 0
        for batch in batches:
            squares += (batch.images[:, 0] - mean).square().sum(0)
            count += len(batch)
        self.mean.copy_(mean)
        self.sd.copy_(floored((squares / (count - 1)).sqrt(), self.grid, self.sd_floor))

    def anomaly_map(self, batch: Batch) -> Tensor:
        """(mean - x) / SD."""
        return (self.mean - batch.images) / self.sd


def floored(sd: Tensor, grid: Grid, floor: float) -> Tensor:
    """Standard deviations (X, Y, Z), raised to at least `floor` times their median over the brain, and to 1e-6."""
    brain = torch.from_numpy(brain_mask(grid)).to(sd.device)
    return sd.clamp_min(floor * float(sd[brain].median())).clamp_min(1e-6)
