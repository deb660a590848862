"""What a reconstruction gives back where the anomaly is, what it spoils elsewhere, and whose brain it shows.

Recovery and damage are never collapsed into one number: the identity damages nothing and recovers nothing, the mean
scan recovers much and damages everybody.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uadbench.metrics.localisation import sum_where

REVISION = 2
"""Raise it whenever the same images get other numbers."""

LEAST_REDUCTION = 0.02
"""Below this effective reduction in the truth, there is too little to recover for a ratio to mean anything."""


def recovered_fraction(restored: Tensor, altered: Tensor, healthy: Tensor, truth: Tensor) -> Tensor:
    """How much of the uptake that the anomaly took is given back inside the truth: sum(x̂' - x') / sum(x - x').

    Args:
        restored, altered: (N, V) SUVR: x̂' and x' in the voxels of the brain.
        healthy: (1 or N, V) SUVR: x.
        truth: (V,) bool, the voxels of the anomaly.

    Returns:
        (N,) float64: 0 gives back nothing, 1 as much as was taken, more is too much. NaN where the mean reduction is
        below LEAST_REDUCTION or the truth is empty.
    """
    taken, uptake = sum_where(healthy - altered, truth), sum_where(healthy, truth)
    given = sum_where(restored - altered, truth)
    return (given / taken).where(taken >= LEAST_REDUCTION * uptake, float("nan"))


def damage(restored: Tensor, healthy: Tensor, outside: Tensor, variance: Tensor) -> Tensor:
    """Squared error (x̂' - x)² outside the anomaly, in units of the variance between healthy people there.

    Args:
        restored, healthy: (N or 1, V), in one unit.
        outside: (V,) bool: brain that must not change.
        variance: (V,): voxelwise variance of healthy scans, in that unit squared.

    Returns:
        (N,) float64, ratio of sums: 0 damages nothing, 1 is as far off as another healthy person's deviation from the
        mean. NaN where healthy people do not differ.
    """
    scale = sum_where(variance[None], outside)
    return (sum_where((restored - healthy).square(), outside) / scale).where(scale > 0, float("nan"))


def healthiness(images: Tensor, truth: Tensor, outside: Tensor) -> Tensor:
    """Mean uptake inside the anomaly's mask over mean uptake in the rest of the brain (Hassanaly 2024, MELBA 2024:003).

    A reconstruction is healthy where this is its own subject's value, which is not 1.

    Args:
        images: (N, V) SUVR.
        truth, outside: (V,) bool.

    Returns:
        (N,) float64, NaN where there is no uptake outside or a mask is empty.
    """
    inside, rest = sum_where(images, truth) / truth.sum(), sum_where(images, outside) / outside.sum()
    return (inside / rest).where(rest > 0, float("nan"))


class ReferenceScans:
    """The healthy scans among which a reconstruction is looked for.

    Args:
        scans: (S, V) brain voxels of the healthy scans of test subjects.
    """

    def __init__(self, scans: Tensor) -> None:
        self.centre = scans.mean(dim=0)  # people are much alike: float32 is enough for how they differ from the mean
        self.scans = scans - self.centre
        self.squares = self.scans.double().square().sum(dim=1)

    def identified(self, restored: Tensor, own: Tensor, place: int | None) -> Tensor:
        """Whether x̂' is nearer to its own subject's x than to any other subject's.

        Args:
            restored: (N, V) brain voxels of x̂'.
            own: (V,) those of x.
            place: Which of the scans is x; None if it is not among them.

        Returns:
            (N,) float64, 1 or 0; a tie is no identification. NaN where there is nobody else.
        """
        if len(self.scans) - (place is not None) < 1:
            return torch.full((len(restored),), float("nan"), dtype=torch.float64, device=restored.device)
        # |a - b|² - |a|², which orders like |a - b|²
        off, x = restored - self.centre, own - self.centre
        to_own = x.double().square().sum() - 2 * (off @ x)
        to_others = self.squares - 2 * (off @ self.scans.T)
        if place is not None:
            to_own = to_others[:, place].clone()
            to_others[:, place] = float("inf")
        return (to_own < to_others.min(dim=1).values).double()
