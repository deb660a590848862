"""The score of a scan from its anomaly map, and voxel and scan thresholds set on healthy validation scans."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uadbench.stats.bootstrap import LEVEL, effective_observations, share_interval

REVISION = 2
"""Increase this number whenever the results for the same maps change."""


def top_mean(maps: Tensor, share: float) -> Tensor:
    """The score of a scan: the mean of the highest values of its anomaly map.

    Args:
        maps: (N, V) the maps in the voxels of the brain, higher = more anomalous.
        share: The share of voxels to average, 0 to 1; 0.01 is the top 1 %. At least one voxel is used.

    Returns:
        (N,) float64; NaN if there are no voxels.
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
    """A value that a given share of healthy voxels exceeds.

    Attributes:
        value: The threshold.
        low: The lower bound of its 95 % interval.
        high: The upper bound.
    """

    value: float
    low: float
    high: float


def voxel_threshold(maps: Tensor, rate: float) -> Threshold:
    """The smallest value that at most a given share of the voxels of healthy scans exceed.

    The interval is a Clopper-Pearson interval for this share. Because voxels of a scan are not independent, it uses the
    effective number of observations, estimated from the variance of the share between scans (Korn and Graubard 1998,
    Survey Methodology 24:193). If scans differ about as much as voxels within a scan do, the exceeding voxels come from
    few scans, and the interval is too narrow.

    Args:
        maps: (S, V) the maps of S healthy scans in the voxels of the brain.
        rate: The false positive rate, 0 to 1.

    Returns:
        The threshold with its interval.
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
    """A score above which a scan is classified as abnormal.

    Attributes:
        value: The threshold.
        rank: The rank of the threshold among the validation scores, from 1 = lowest.
        specificity_low: The lower bound of the 95 % interval of the true specificity.
        specificity_high: The upper bound.
    """

    value: float
    rank: int
    specificity_low: float
    specificity_high: float


def subject_threshold(scores: npt.ArrayLike, specificity: float) -> SubjectThreshold | None:
    """The threshold that a new healthy scan does not exceed, with at least a given probability.

    It is the k-th lowest of n validation scores, with k = ceil((n + 1) specificity) (split conformal prediction: Vovk
    et al. 2005, Algorithmic Learning in a Random World). The true specificity of this order statistic follows
    Beta(k, n - k + 1) for any continuous distribution of scores.

    Args:
        scores: (n,) the scores of healthy validation scans.
        specificity: The probability, 0 to 1.

    Returns:
        The threshold; None if n is too small for this specificity (below 19 for 95 %), or a score is not finite.
    """
    from scipy import stats

    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(ordered)
    k = math.ceil((n + 1) * specificity - 1e-9)
    if k > n or not np.isfinite(ordered).all():
        return None
    bounds = stats.beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], k, n - k + 1)
    return SubjectThreshold(float(ordered[k - 1]), k, float(bounds[0]), float(bounds[1]))
