"""Average precision and AUROC of the voxels of many scans thrown together, from counts, with proven bounds.

Papers often pool voxels. Here cases are what is averaged, since large anomalies would outvote small ones and one scan's
scale another's; this is for those who want to compare with such a paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.ranking import BUCKETS, count_in_buckets

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounded:
    """A number that is not known exactly, and between what it lies for certain."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pooled:
    """Scores of pooled voxels; `prevalence` is the average precision of chance. NaN where a class is missing."""

    average_precision: Bounded
    auroc: Bounded
    prevalence: float


class PooledRanking:
    """Counts positives and negatives in 2^21 buckets of scores, in one pass over the voxels and 32 MB of memory.

    A bucket holds the scores that agree in sign, exponent and twelve bits of the mantissa, 0.02 % apart. Within it the
    order is unknown: all positives first, tied, is the best that it can be, all negatives first the worst. Between
    these two lie the exact scores (scikit-learn's definitions); the value given takes every bucket as well mixed.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, BUCKETS), np.int64)

    def add(self, scores: npt.NDArray[np.float32], truth: npt.NDArray[np.int8]) -> None:
        """Count voxels; both arrays are of one shape, truth is 1 positive, 0 negative, -1 ignored.

        Raises:
            ValueError: Where shapes differ, or a voxel that counts scores NaN.
        """
        if scores.shape != truth.shape:
            raise ValueError(f"scores {scores.shape} and truth {truth.shape} differ in shape")
        flat = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
        if not count_in_buckets(flat, np.ascontiguousarray(truth, dtype=np.int8).reshape(-1), self.counts):
            raise ValueError("a voxel that counts scores NaN")

    def result(self) -> Pooled:
        """What all voxels counted so far give."""
        used = self.counts.any(axis=0)
        positive, negative = self.counts[:, used][:, ::-1].astype(np.float64)  # from the highest score down
        p, n = float(positive.sum()), float(negative.sum())
        unknown = Bounded(np.nan, np.nan, np.nan)
        prevalence = p / (p + n) if p + n else np.nan
        if p == 0:
            return Pooled(unknown, unknown, prevalence)
        above, false = np.cumsum(positive) - positive, np.cumsum(negative) - negative
        low, value = (float(_precisions(positive, above, false + share * negative).sum() / p) for share in (1.0, 0.5))
        reached = above + positive
        # tied positives all have the precision of the last, which is the highest; 1 where only negatives came so far
        high = float((positive * reached / np.maximum(reached + false, 1)).sum() / p)
        precision = Bounded(value, low, high)
        if n == 0:
            return Pooled(precision, unknown, prevalence)
        below = n - false - negative
        ordered, mixed = float(positive @ below) / (p * n), float(positive @ negative) / (p * n)
        return Pooled(precision, Bounded(ordered + mixed / 2, ordered, ordered + mixed), prevalence)


def _precisions(positive: Counts, above: Counts, false: Counts) -> Counts:
    """Sums of precisions of each bucket's positives, i = 1..p: (above + i) / (above + i + false)."""
    from scipy.special import digamma

    start = above + false + 1
    return np.asarray(positive - false * (digamma(start + positive) - digamma(start)))
