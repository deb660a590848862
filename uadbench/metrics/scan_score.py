"""From a map to a scan's score, and from healthy validation scans to the thresholds of voxels and scans."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uadbench.stats.bootstrap import LEVEL, effective_observations, share_interval

REVISION = 2
"""Raise it whenever the same maps get other numbers."""


def top_mean(maps: Tensor, share: float) -> Tensor:
    """The score of a scan: the mean of the highest `share` of its voxels (at least one).

    Args:
        maps: (N, V) brain voxels, higher = more suspicious.
        share: In 0..1: 0.01 takes the top 1 %.

    Returns:
        (N,) float64; NaN where there are no voxels.
    """
    count = max(1, math.ceil(share * maps.shape[1] - 1e-9))
    if maps.shape[1] == 0:
        return torch.full((len(maps),), math.nan, dtype=torch.float64, device=maps.device)
    if maps.device.type == "cpu":
        from uadbench.metrics.compiled.ranking import top_sum

        sums = [top_sum(row.float().contiguous().numpy(), count) for row in maps.detach()]
        return torch.tensor(sums, dtype=torch.float64) / count
    return maps.topk(count, dim=1).values.double().mean(dim=1)


@dataclass(frozen=True)
class Threshold:
    """A value that a share of healthy voxels exceeds, and between which values it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def voxel_threshold(maps: Tensor, rate: float) -> Threshold:
    """The smallest value that at most `rate` of the voxels of healthy scans exceed.

    Its interval is binomial. Voxels of one scan are far from independent, so the number of observations is the
    effective one, which the spread of the exceeding share between scans tells (Korn and Graubard 1998, Survey
    Methodology 24:193); the bounds of the share are those of Clopper and Pearson. Where scans differ from each other
    about as much as their voxels do, what exceeds comes from few scans, and the interval is too short.

    Args:
        maps: (S, V) brain voxels of S healthy scans.
        rate: False positive rate, 0..1.
    """
    scans, voxels = maps.shape
    flat = maps.detach().cpu().reshape(-1).numpy()
    ordered = np.sort(flat)

    def exceeded_by(share: float) -> float:
        return float(ordered[max(0, len(ordered) - 1 - math.floor(share * len(ordered) + 1e-9))])

    value = exceeded_by(rate)
    shares = (maps > value).double().mean(dim=1).cpu().numpy()
    share, observations = float(shares.mean()), float(scans * voxels)
    variance = float(shares.var(ddof=1)) / scans if scans > 1 else 0.0
    if variance > 0:
        observations = min(observations, effective_observations(share, variance, scans))
    bounds = share_interval(share, observations)
    return Threshold(value, exceeded_by(bounds.high or 0.0), exceeded_by(bounds.low or 0.0))


@dataclass(frozen=True)
class SubjectThreshold:
    """A score above which a scan counts as ill, and between which values its true specificity lies (95 %).

    It is the `place`-th lowest of the validation scores.
    """

    value: float
    place: int
    specificity_low: float
    specificity_high: float


def subject_threshold(scores: npt.ArrayLike, specificity: float) -> SubjectThreshold | None:
    """The threshold that a new healthy scan stays below with probability `specificity` or more.

    It is the k-th of n validation scores, k = ceil((n + 1) specificity) (split conformal prediction: Vovk et al. 2005,
    Algorithmic Learning in a Random World). The true specificity of that order statistic is distributed as
    Beta(k, n - k + 1), whatever the scores' distribution.

    Returns None where n is too small for that specificity (below 19 for 95 %), or a score is not finite.
    """
    from scipy import stats

    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(ordered)
    k = math.ceil((n + 1) * specificity - 1e-9)
    if k > n or not np.isfinite(ordered).all():
        return None
    bounds = stats.beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], k, n - k + 1)
    return SubjectThreshold(float(ordered[k - 1]), k, float(bounds[0]), float(bounds[1]))
