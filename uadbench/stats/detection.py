"""How well scans are told apart, with intervals: AUROC, shares above a threshold, rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from uadbench.stats.bootstrap import (
    LEVEL,
    Interval,
    effective_observations,
    percentiles,
    share_interval,
    subject_resamples,
)
from uadbench.types import Values

FEWEST = 5
"""Subjects that an interval of an AUROC takes at least."""


def auroc_among(healthy: Values, altered: Values, level: float = LEVEL, counts: Values | None = None) -> Interval:
    """How often an altered scan scores above the healthy scan of *another* subject; a tie counts half.

    That is the AUROC without the pairs of a subject with himself, which any model orders and no reader is asked about.
    Subjects are resampled with both of their scans; of that comes the variance, and the interval of `_auroc`.

    All None for fewer than two subjects, and no interval for fewer than five.

    Args:
        healthy: (subjects,) scores.
        altered: (subjects,) or (subjects, draws), in the same order; NaN is not allowed.
    """
    subjects = len(healthy)
    if subjects < 2:
        return Interval(None, None, None)
    counts = subject_resamples(subjects) if counts is None else counts
    altered = altered.reshape(subjects, -1)
    wins = _wins(healthy, altered)
    np.fill_diagonal(wins, 0)
    most = 2 * altered.shape[1]  # that a pair can win
    pairs = subjects**2 - np.einsum("ij,ij->i", counts, counts)  # of different subjects; where there is one, none
    with np.errstate(invalid="ignore"):
        drawn = _resampled_wins(wins, counts, counts) / (most * pairs)
    return _auroc(float(wins.sum() / (most * subjects * (subjects - 1))), drawn, subjects, level)


def auroc_between(healthy: Values, ill: Values, level: float = LEVEL) -> Interval:
    """The AUROC of two groups of different people; either group is resampled by itself.

    All None where a group has fewer than two, and no interval for fewer than five.
    """
    if min(len(healthy), len(ill)) < 2:
        return Interval(None, None, None)
    wins = _wins(healthy, ill[:, None])
    of_healthy, of_ill = subject_resamples(len(healthy)), subject_resamples(len(ill), seed=2)
    drawn = _resampled_wins(wins, of_healthy, of_ill) / (2 * wins.size)
    return _auroc(float(wins.sum() / (2 * wins.size)), drawn, min(wins.shape), level)


def _wins(healthy: Values, ill: Values) -> Values:
    """(healthy, ill): 2 where the ill scan scores higher, 1 where equal; summed over the draws of `ill`."""
    above, equal = (compare(ill[None], healthy[:, None, None]) for compare in (np.greater, np.equal))
    return np.asarray((2.0 * above + equal).sum(axis=2))


def _resampled_wins(wins: Values, of_healthy: Values, of_ill: Values) -> Values:
    """The sum of the wins over all pairs of each resample, (resamples,).

    All are whole numbers, whose sums are exact: in float32, which takes half the time, up to 2^24.
    """
    kind = np.float32 if wins.max() * wins.size < 2**24 else np.float64
    by_ill = of_healthy.astype(kind) @ wins.astype(kind)
    return np.asarray(np.einsum("ij,ij->i", by_ill, of_ill.astype(kind)), dtype=np.float64)


def _auroc(value: float, drawn: Values, subjects: int, level: float) -> Interval:
    """An AUROC with Clopper and Pearson's bounds for as many observations as its variance is worth.

    Near 1 the resamples of a few misordered pairs, or of none, know too little; so no lower bound is above that of a
    perfect AUROC, for which each subject counts as two observations: what the variance tends to there (Hanley and
    McNeil 1982, Radiology 143:29). Near 0 likewise.
    """
    if subjects < FEWEST:  # hardly a resample holds two different subjects
        return Interval(value, None, None)
    perfect = share_interval(1.0, 2 * subjects, level).low or 0.0
    variance = float(np.nanvar(drawn)) * subjects / (subjects - 1)
    if variance == 0:  # every pair is in order, or none, or all are ties
        return Interval(value, min(value, perfect), max(value, 1 - perfect))
    plain = share_interval(value, effective_observations(value, variance, subjects, level), level)
    return Interval(value, min(plain.low or 0.0, perfect), max(plain.high or 0.0, 1 - perfect))


@dataclass(frozen=True)
class Cutoff:
    """A threshold that scores of other people have set, and what it would have been for resamples of them."""

    value: float
    drawn: Values


def cutoff(scores: Values, place: int) -> Cutoff:
    """The `place`-th lowest of the scores as a threshold, and that of each resample: (resamples,)."""
    ordered = np.sort(scores)
    counts = subject_resamples(len(scores), seed=4)  # as they are exchangeable, they may be taken as sorted
    reached = np.cumsum(counts, axis=1) >= place
    return Cutoff(float(ordered[place - 1]), ordered[reached.argmax(axis=1)])


def share_above(scores: Values, limit: Cutoff, level: float = LEVEL) -> Interval:
    """The share of scans above a threshold that other people have set, which is uncertain itself.

    People of both groups are resampled; the interval is never narrower than Clopper and Pearson's at this threshold,
    because resamples of scores that all lie above it know nothing.

    Args:
        scores: (subjects,) or (subjects, draws).
        limit: Of `cutoff`.
    """
    subjects = len(scores)
    scores = scores.reshape(subjects, -1)
    share = float((scores > limit.value).mean())
    plain = share_interval(share, subjects, level)
    if subjects < 2 or plain.low is None or plain.high is None:
        return plain
    counts = subject_resamples(subjects)
    values, place = np.unique(limit.drawn, return_inverse=True)
    above = (scores[:, :, None] > values).sum(axis=1).astype(np.float64)  # (subjects, values)
    drawn = (counts @ above)[np.arange(len(counts)), place] / scores.size
    low, high = percentiles(drawn, subjects, level)
    return Interval(share, max(0.0, min(low, plain.low)), min(1.0, max(high, plain.high)))


def rank_correlation(a: Values, b: Values, level: float = LEVEL) -> Interval:
    """Spearman's correlation with the interval of Bonett and Wright (2000, Psychometrika 65:23).

    All None for fewer than ten subjects, or where one of the two does not vary.

    Args:
        a, b: (subjects,); a subject that is NaN in either is left out.
    """
    known = np.isfinite(a) & np.isfinite(b)
    n = int(known.sum())
    if n < 10 or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return Interval(None, None, None)
    r = float(stats.spearmanr(a[known], b[known]).statistic)
    if abs(r) > 1 - 1e-9:
        return Interval(r, None, None)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + r**2 / 2) / (n - 3))
    return Interval(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))
