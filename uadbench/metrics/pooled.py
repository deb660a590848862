"""Average precision and AUROC of the pooled voxels of many scans, with exact bounds, for comparison with other papers.

Papers often pool the voxels of all scans. uadbench averages scores over cases instead, because in pooled voxels large
anomalies dominate small ones, and differences in scale between scans affect the ranking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.ranking import BUCKETS, count_in_buckets

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounded:
    """An approximate number with exact bounds.

    Attributes:
        value: The approximation.
        low: The lower bound of the exact value.
        high: The upper bound of the exact value.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pooled:
    """Scores of pooled voxels; NaN if a class has no voxels.

    Attributes:
        average_precision: The average precision.
        auroc: The area under the ROC curve.
        prevalence: The share of positives, which is the average precision of an uninformative map.
    """

    average_precision: Bounded
    auroc: Bounded
    prevalence: float


class PooledRanking:
    """Computes scores of pooled voxels in one pass, from a histogram with 2^21 bins that takes 32 MB.

    A bin contains the scores that agree in sign, exponent and the first twelve bits of the mantissa, which differ by at
    most 0.02 %. The order within a bin is unknown. The upper bound assumes that all positives of a bin come first and
    are tied, the lower bound that all negatives come first; the exact score (scikit-learn's definition) lies between
    the bounds. The approximation assumes that positives and negatives are mixed evenly within each bin.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, BUCKETS), np.int64)

    def add(self, scores: npt.NDArray[np.float32], truth: npt.NDArray[np.int8]) -> None:
        """Add voxels to the histogram.

        Args:
            scores: float32 of any shape.
            truth: int8 of the same shape: 1 = positive, 0 = negative, -1 = ignored.

        Raises:
            ValueError: If the shapes differ, or the score of a voxel that is not ignored is NaN.
        """
        if scores.shape != truth.shape:
            raise ValueError(f"scores {scores.shape} and truth {truth.shape} differ in shape")
        flat = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
        if not count_in_buckets(flat, np.ascontiguousarray(truth, dtype=np.int8).reshape(-1), self.counts):
            raise ValueError("a voxel that is not ignored has the score NaN")

    def result(self) -> Pooled:
        """The scores of all voxels added so far."""
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
        # tied positives all have the precision of the last one, which is the highest
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
