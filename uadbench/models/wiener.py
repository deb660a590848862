"""The Wiener filter of smooth lesions in healthy variation (`wiener`), on 8 mm voxels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import ReconstructionModel, mean_image
from uadbench.registry import register_model
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid

SHRINKAGES = (0.05, 0.1, 0.2, 0.4, 0.8)
LENGTHS_MM = (8.0, 16.0, 32.0)
"""Candidates for the covariance of healthy scans, of which the likelihood of held-out scans chooses."""

EVERY = 4
"""One of so many training scans is held out for that choice; the chosen covariance is of all scans."""

SD_FLOOR, LEAST_SD = 0.1, 1e-4
"""Smallest SD of a coarse voxel, as a fraction of the median and in normalised units: one scan has no variance."""


@register_model("wiener")
class Wiener(ReconstructionModel):
    """The best linear estimate of a smooth relative reduction, from the mean and covariance of healthy scans.

    A scan is modelled as x' = x - D r, where x has the mean m and the covariance S of healthy scans, D is the diagonal
    matrix of m, and r is a lesion, the relative reduction, with mean 0 and covariance K = sd² exp(-distance / length).
    The estimate with the smallest mean squared error is r = K D (D K D + S)⁻¹ (m - x') (Wiener 1949), the formula of
    kriging and of Gaussian processes (Rasmussen and Williams 2006, Equation 2.23). It is the anomaly map; the
    reconstruction is x' + D r, the estimate of x.

    All of it is computed on voxels of 8 mm, as means over the voxels in the brain, and interpolated to the grid;
    outside the brain r is 0. S is shrunk towards the SDs of the scans times an exponential correlation; the weight and
    the length of the correlation are those with the highest Gaussian likelihood of held-out training scans. With
    intensities scaled by minimum and maximum, m is not exactly proportional to uptake; the minimum of a scan is close
    to 0.

    Args:
        spacing_mm: Edge of the coarse voxels, in mm; not finer than the grid.
        lesion_sd: SD of the relative reduction of the lesions that are expected.
        lesion_mm: Length of the correlation of these lesions, in mm.
    """

    reference = "Wiener 1949, MIT Press; Rasmussen and Williams 2006, MIT Press"
    family = "linear"
    mean: Tensor
    filter: Tensor

    def __init__(
        self,
        grid: Grid,
        spacing_mm: Annotated[float, Field(gt=0)] = 8.0,
        lesion_sd: Annotated[float, Field(gt=0)] = 0.15,
        lesion_mm: Annotated[float, Field(gt=0)] = 25.0,
    ) -> None:
        super().__init__(grid)
        self.lesion_sd = lesion_sd
        self.lesion_mm = lesion_mm
        self.coarse = CoarseBrain(grid, max(spacing_mm, grid.voxel_mm))
        self.register_buffer("mean", torch.zeros(grid.shape))
        self.register_buffer("filter", torch.zeros(self.coarse.voxels, self.coarse.voxels))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Average the scans in coarse voxels and learn from these."""
        self.learn(mean_image(batches), torch.cat([self.coarse.down(batch.images[:, 0]) for batch in batches]))

    def learn(self, mean: Tensor, scans: Tensor) -> None:
        """Choose the shrinkage on held-out scans and compute the filter.

        Args:
            mean: The mean healthy scan, (X, Y, Z), normalised units.
            scans: Healthy scans in coarse voxels, (S, V), normalised units; see `CoarseBrain.down`.
        """
        self.mean.copy_(mean)
        scans, distances = scans.double(), self.coarse.distances()
        off = scans - scans.mean(dim=0)
        covariance = off.T @ off / max(len(scans) - 1, 1)
        sd = covariance.diagonal().sqrt()
        sd = sd.clamp_min(max(SD_FLOOR * float(sd.median()), LEAST_SD))
        weight, length_mm = most_likely(scans, sd, distances)
        healthy = torch.lerp(covariance, torch.exp(-distances / length_mm) * sd * sd[:, None], weight)  # S
        uptake = self.coarse.down(self.mean[None])[0].double().clamp_min(0)  # the diagonal of D
        lesions = self.lesion_sd**2 * torch.exp(-distances / self.lesion_mm) * uptake  # K D
        root = torch.linalg.cholesky(uptake[:, None] * lesions + healthy)
        self.filter.copy_(torch.cholesky_solve(lesions.T, root).T)

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The relative reduction r, 0.3 for 30 %."""
        off = self.coarse.down(self.mean - batch.images[:, 0])
        return self.coarse.up(off @ self.filter.T)[:, None]

    def reconstruct(self, batch: Batch) -> Tensor:
        """The estimate x' + D r, the scan without its estimated lesion."""
        return batch.images + self.mean * self.anomaly_map(batch)


def most_likely(scans: Tensor, sd: Tensor, distances: Tensor) -> tuple[float, float]:
    """Choose the shrinkage of the covariance of S scans by the Gaussian likelihood of every fourth of them.

    The covariance of the others is shrunk by the weight w towards T = sd sd' exp(-distance / length). In the
    coordinates in which T is the identity, only S directions have another eigenvalue than w, so that one Cholesky
    factor per length serves every weight.

    Args:
        scans: Healthy scans in coarse voxels, (S, V) float64.
        sd: Their SDs, (V,) float64, positive.
        distances: Distances between the coarse voxels, (V, V) float64, mm.

    Returns:
        Weight and length in mm; the strongest shrinkage for fewer than four scans, none of which is held out.
    """
    held = torch.arange(len(scans)) % EVERY == EVERY - 1
    if not held.any():
        return SHRINKAGES[-1], LENGTHS_MM[-1]
    train, test = scans[~held], scans[held]
    centre = train.mean(dim=0)
    losses: dict[tuple[float, float], float] = {}
    for length_mm in LENGTHS_MM:
        root = torch.linalg.cholesky(torch.exp(-distances / length_mm))
        white = [torch.linalg.solve_triangular(root, ((x - centre) / sd).T, upper=False) for x in (train, test)]
        spread, directions = torch.linalg.eigh(white[0].T @ white[0] / (len(train) - 1))
        spread, directions = spread[1:], directions[:, 1:]  # centred scans have one direction less
        spread = spread.clamp_min(1e-9 * float(spread[-1].clamp_min(1e-9)))
        along = (directions.T @ (white[0].T @ white[1])).square() / (spread * (len(train) - 1))[:, None]
        for weight in SHRINKAGES:
            levels = weight + (1 - weight) * spread
            beside = white[1].square().sum() - along.sum()  # in directions with the eigenvalue `weight`
            squares = (along / levels[:, None]).sum() + beside / weight
            logs = levels.log().sum() + (len(sd) - len(levels)) * math.log(weight)
            loss = 2 * root.diagonal().log().sum() + logs + squares / len(test)
            losses[weight, length_mm] = float(loss)
    return min(losses, key=losses.__getitem__)


class CoarseBrain(torch.nn.Module):
    """Averages the brain's voxels of a grid in V coarse voxels, and interpolates values of these to the grid.

    Args:
        grid: The grid.
        spacing_mm: Edge of the coarse voxels, in mm; they start at the edge of the grid's field of view.
    """

    brain: Tensor
    kept: Tensor

    def __init__(self, grid: Grid, spacing_mm: float) -> None:
        super().__init__()
        self.spacing_mm = spacing_mm
        self.edge = spacing_mm / grid.voxel_mm  # in voxels
        self.counts = [math.ceil(n / self.edge) for n in grid.shape]
        self.register_buffer("brain", torch.from_numpy(brain_mask(grid)), persistent=False)
        share = _along_axes(self.brain[None].float(), self._averaging())[0]
        self.register_buffer("kept", share >= 0.5, persistent=False)

    @property
    def voxels(self) -> int:
        """V, the number of coarse voxels, at least half of each in the brain."""
        return int(self.kept.sum())

    def distances(self) -> Tensor:
        """Distances between the centres of the coarse voxels, (V, V) float64, mm."""
        centres = self.spacing_mm * self.kept.nonzero().double()
        return torch.cdist(centres, centres)

    def down(self, images: Tensor) -> Tensor:
        """Means over the brain's voxels in each coarse voxel, (N, V), of images (N, X, Y, Z)."""
        volumes = torch.cat([images * self.brain, self.brain[None]])
        *sums, share = _along_axes(volumes, self._averaging())[:, self.kept]
        means: Tensor = torch.stack(sums) / share
        return means

    def up(self, values: Tensor) -> Tensor:
        """Linear interpolation of values (N, V) between the coarse voxels, (N, X, Y, Z); 0 outside the brain."""
        volumes = values.new_zeros(len(values) + 1, *self.kept.shape)
        volumes[:-1, self.kept] = values
        volumes[-1] = self.kept
        *sums, share = _along_axes(volumes, self._interpolation())  # the share is below 1 at the rim of the brain
        return torch.stack(sums) * torch.where(self.brain & (share > 0), 1 / share, 0)

    def _averaging(self) -> list[Tensor]:
        """The fraction of each coarse voxel (row) that a voxel covers, along every axis."""
        return [
            (torch.minimum(start + 1, first + self.edge) - torch.maximum(start, first)).clamp_min(0) / self.edge
            for start, first in self._starts()
        ]

    def _interpolation(self) -> list[Tensor]:
        """Weights of the coarse voxels for each voxel (row), along every axis."""
        return [(1 - ((start + 0.5 - first) / self.edge - 0.5).abs()).clamp_min(0).T for start, first in self._starts()]

    def _starts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Where voxels (1, n) and coarse voxels (count, 1) start along every axis, in voxels."""
        for n, count in zip(self.brain.shape, self.counts, strict=True):
            edges = torch.arange(max(n, count), dtype=torch.float32, device=self.brain.device)
            yield edges[None, :n], self.edge * edges[:count, None]


def _along_axes(volumes: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply volumes (N, X, Y, Z) by a matrix along each axis."""
    x, y, z = matrices
    volumes = (x @ volumes.flatten(2)).reshape(len(volumes), -1, *volumes.shape[2:])  # (N, X, Y, Z) -> (N, X', Y, Z)
    along: Tensor = y @ volumes @ z.T
    return along
