"""Restoration metrics of a reconstruction: recovered uptake, damage outside the anomaly, healthiness, and identity.

Recovery and damage are not combined into one number: the identity recovers nothing and damages nothing, whereas the
mean scan recovers much but damages every scan.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uadbench.metrics.localisation import sum_where

REVISION = 2
"""Increase this number whenever the results for the same images change."""

LEAST_REDUCTION = 0.02
"""Effective reduction in the ground truth below which the recovered fraction is not meaningful."""


def recovered_fraction(restored: Tensor, altered: Tensor, healthy: Tensor, truth: Tensor) -> Tensor:
    """The fraction of the removed uptake that a reconstruction recovers: sum(x̂' - x') / sum(x - x').

    Args:
        restored: (N, V) SUVR, the reconstructions x̂' in the voxels of the brain.
        altered: (N, V) SUVR, the altered scans x'.
        healthy: (N, V) or (1, V) SUVR, the healthy scans x.
        truth: (V,) bool, the voxels of the anomaly.

    Returns:
        (N,) float64: 0 = nothing, 1 = all of the removed uptake, above 1 = too much. NaN if the mean reduction is
        below LEAST_REDUCTION or the truth is empty.
    """
    removed, uptake = sum_where(healthy - altered, truth), sum_where(healthy, truth)
    recovered = sum_where(restored - altered, truth)
    return (recovered / removed).where(removed >= LEAST_REDUCTION * uptake, float("nan"))


def damage(restored: Tensor, healthy: Tensor, outside: Tensor, variance: Tensor) -> Tensor:
    """Squared error (x̂' - x)² outside the anomaly, relative to the variance between healthy scans there.

    Args:
        restored: (N, V) or (1, V), the reconstructions x̂'.
        healthy: (N, V) or (1, V), the healthy scans x, in the same unit.
        outside: (V,) bool, the voxels of the brain outside the anomaly.
        variance: (V,), the voxelwise variance of healthy scans, in that unit squared.

    Returns:
        (N,) float64, a ratio of sums: 0 = no damage, 1 = as much as healthy scans deviate from their mean. NaN if
        healthy scans do not differ.
    """
    scale = sum_where(variance[None], outside)
    return (sum_where((restored - healthy).square(), outside) / scale).where(scale > 0, float("nan"))


def healthiness(images: Tensor, truth: Tensor, outside: Tensor) -> Tensor:
    """Mean uptake inside the anomaly mask divided by mean uptake in the rest of the brain.

    From Hassanaly et al. 2024, MELBA 2024:003. The correct value for a reconstruction is that of the subject's own
    healthy scan, which is not 1.

    Args:
        images: (N, V) SUVR.
        truth: (V,) bool, the voxels of the anomaly.
        outside: (V,) bool, the other voxels of the brain.

    Returns:
        (N,) float64; NaN if there is no uptake outside or a mask is empty.
    """
    inside, rest = sum_where(images, truth) / truth.sum(), sum_where(images, outside) / outside.sum()
    return (inside / rest).where(rest > 0, float("nan"))


class ReferenceScans:
    """The healthy test scans with which reconstructions are compared, to check that they show the correct subject.

    Args:
        scans: (S, V) float32, the brain voxels of the healthy scans of all test subjects.
    """

    def __init__(self, scans: Tensor) -> None:
        self.centre = scans.mean(dim=0)  # after subtracting the mean, float32 is precise enough for the differences
        self.scans = scans - self.centre
        self.squares = self.scans.double().square().sum(dim=1)

    def identified(self, restored: Tensor, own: Tensor, place: int | None) -> Tensor:
        """Whether a reconstruction x̂' is closer to the healthy scan x of its own subject than to any other scan.

        The distance is Euclidean, over the voxels of the brain.

        Args:
            restored: (N, V) float32, the brain voxels of x̂'.
            own: (V,) float32, the brain voxels of x.
            place: The index of x among the scans; None if it is not one of them.

        Returns:
            (N,) float64: 1 if it is closer to x, 0 if not or in case of a tie; NaN if there is no other scan.
        """
        if len(self.scans) - (place is not None) < 1:
            return torch.full((len(restored),), float("nan"), dtype=torch.float64, device=restored.device)
        # |a - b|² - |a|², which has the same order as |a - b|²
        off, x = restored - self.centre, own - self.centre
        to_own = x.double().square().sum() - 2 * (off @ x)
        to_others = self.squares - 2 * (off @ self.scans.T)
        if place is not None:
            to_own = to_others[:, place].clone()
            to_others[:, place] = float("inf")
        return (to_own < to_others.min(dim=1).values).double()
