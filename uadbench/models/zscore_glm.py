"""The voxelwise z-score adjusted for age and sex (`zscore_glm`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import Model
from uadbench.models.zscore import floored
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

AGE, SEX = 70.0, 0.5
"""Origins of the covariates age (in years; then in decades) and sex. Unknown values become the training mean."""


@register_model("zscore_glm")
class ZScoreGLM(Model):
    """Standard deviations below the expectation of a linear model of age and sex, voxel by voxel.

    Uptake = b0 + b1 age + b2 sex + residual, by least squares over healthy training scans; the map is
    (expected - x) / SD of the residual, as in statistical parametric mapping of one patient against
    controls (Friston et al. 1994), without the test of the contrast. The model gives a map and no
    reconstruction.

    Args:
        sd_floor: Smallest standard deviation, as a fraction of the median over the brain. It prevents extreme scores in
            voxels that hardly vary.
    """

    reference = "Friston et al. 1994, Hum Brain Mapp 2:189-210"
    family = "baseline"
    recipes: ClassVar = {"quick": {"sd_floor": 1.0}}
    coefficients: Tensor
    usual: Tensor
    sd: Tensor

    def __init__(self, grid: Grid, sd_floor: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        super().__init__(grid)
        self.sd_floor = sd_floor
        self.register_buffer("coefficients", torch.zeros(3, grid.size))
        self.register_buffer("usual", torch.zeros(2))
        self.register_buffer("sd", torch.ones(grid.shape))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Solve the normal equations in float64, then compute the SD of the residuals in a second pass."""
        known = torch.cat([_covariates(batch) for batch in batches])
        self.usual.copy_(known.nanmean(dim=0).nan_to_num())
        products = torch.zeros(3, 3, dtype=torch.float64, device=known.device)
        sums = torch.zeros(3, self.grid.size, dtype=torch.float64, device=known.device)
        for batch in batches:
            design = self._design(batch).double()
            products += design.T @ design
            sums += design.T @ batch.images.flatten(1).double()
        self.coefficients.copy_(torch.linalg.pinv(products, hermitian=True) @ sums)
        squares = torch.zeros(self.grid.shape, dtype=torch.float64, device=known.device)
        for batch in batches:
            squares += (self._expected(batch) - batch.images)[:, 0].double().square().sum(0)
        freedom = max(1, len(known) - int(torch.linalg.matrix_rank(products, hermitian=True)))
        self.sd.copy_(floored((squares / freedom).sqrt(), self.grid, self.sd_floor))

    def anomaly_map(self, batch: Batch) -> Tensor:
        """(expected - x) / SD of the residual."""
        return (self._expected(batch) - batch.images) / self.sd

    def _expected(self, batch: Batch) -> Tensor:
        """The uptake expected for age and sex of every scan, (N, 1, X, Y, Z)."""
        return (self._design(batch) @ self.coefficients).view_as(batch.images)

    def _design(self, batch: Batch) -> Tensor:
        """The design matrix: intercept, age and sex of every scan, (N, 3)."""
        covariates = _covariates(batch)
        covariates = torch.where(covariates.isnan(), self.usual, covariates)
        return torch.cat([torch.ones_like(covariates[:, :1]), covariates], dim=1)


def _covariates(batch: Batch) -> Tensor:
    return torch.stack([(batch.age - AGE) / 10, batch.sex - SEX], dim=1).to(batch.images.device)
