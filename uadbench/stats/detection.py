"""Detection statistics with confidence intervals: AUROC, share of scans above a threshold, rank correlation."""

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
"""The smallest number of subjects for which the interval of an AUROC is computed."""


def auroc_among(healthy: Values, altered: Values, level: float = LEVEL, counts: Values | None = None) -> Interval:
    """The probability that an altered scan scores above the healthy scan of *another* subject; a tie counts half.

    This is the AUROC without the pairs formed by the two scans of one subject, which are easy to order and do not
    occur in clinical practice. The variance comes from resampling subjects, each with both scans; for the interval see
    `_auroc`.

    Args:
        healthy: (subjects,) scores, without NaN.
        altered: (subjects,) or (subjects, draws) scores in the same order, without NaN.
        level: The confidence level.
        counts: (resamples, subjects) resamples to use; by default those of `subject_resamples`.

    Returns:
        The AUROC with its interval. All values are None for fewer than two subjects; the bounds are None for fewer
        than five.
    """
    subjects = len(healthy)
    if subjects < 2:
        return Interval(None, None, None)
    counts = subject_resamples(subjects) if counts is None else counts
    altered = altered.reshape(subjects, -1)
    wins = _wins(healthy, altered)
    np.fill_diagonal(wins, 0)
    most = 2 * altered.shape[1]  # the largest possible value of `wins` for a pair
    pairs = subjects**2 - np.einsum("ij,ij->i", counts, counts)  # pairs of different subjects in each resample
    with np.errstate(invalid="ignore"):
        drawn = _resampled_wins(wins, counts, counts) / (most * pairs)
    return _auroc(float(wins.sum() / (most * subjects * (subjects - 1))), drawn, subjects, level)


def auroc_between(healthy: Values, ill: Values, level: float = LEVEL) -> Interval:
    """The AUROC between two groups of different subjects; each group is resampled independently.

    Args:
        healthy: (subjects,) scores of the first group, without NaN.
        ill: (patients,) scores of the second group, without NaN.
        level: The confidence level.

    Returns:
        The AUROC with its interval. All values are None if a group has fewer than two subjects; the bounds are None
        if it has fewer than five.
    """
    if min(len(healthy), len(ill)) < 2:
        return Interval(None, None, None)
    wins = _wins(healthy, ill[:, None])
    of_healthy, of_ill = subject_resamples(len(healthy)), subject_resamples(len(ill), seed=2)
    drawn = _resampled_wins(wins, of_healthy, of_ill) / (2 * wins.size)
    return _auroc(float(wins.sum() / (2 * wins.size)), drawn, min(wins.shape), level)


def _wins(healthy: Values, ill: Values) -> Values:
    """(healthy, ill): 2 if the ill scan scores higher, 1 if the scores are equal; summed over the draws of `ill`."""
    above, equal = (compare(ill[None], healthy[:, None, None]) for compare in (np.greater, np.equal))
    return np.asarray((2.0 * above + equal).sum(axis=2))


def _resampled_wins(wins: Values, of_healthy: Values, of_ill: Values) -> Values:
    """The sum of the wins over all pairs of each resample, (resamples,).

    The wins are integers, so their sums are exact; float32, which is twice as fast, is used for sums below 2^24.
    """
    kind = np.float32 if wins.max() * wins.size < 2**24 else np.float64
    by_ill = of_healthy.astype(kind) @ wins.astype(kind)
    return np.asarray(np.einsum("ij,ij->i", by_ill, of_ill.astype(kind)), dtype=np.float64)


def _auroc(value: float, drawn: Values, subjects: int, level: float) -> Interval:
    """An AUROC with Clopper-Pearson bounds for the effective number of observations that its variance implies.

    Near 1, where few or no pairs are misordered, the resamples underestimate the variance. The lower bound is therefore
    at most that of a perfect AUROC, for which each subject counts as two observations, the limit of the variance
    (Hanley and McNeil 1982, Radiology 143:29). The same applies near 0.
    """
    if subjects < FEWEST:  # few resamples contain two different subjects
        return Interval(value, None, None)
    perfect = share_interval(1.0, 2 * subjects, level).low or 0.0
    variance = float(np.nanvar(drawn)) * subjects / (subjects - 1)
    if variance == 0:  # all pairs are ordered correctly, all are misordered, or all are ties
        return Interval(value, min(value, perfect), max(value, 1 - perfect))
    plain = share_interval(value, effective_observations(value, variance, subjects, level), level)
    return Interval(value, min(plain.low or 0.0, perfect), max(plain.high or 0.0, 1 - perfect))


@dataclass(frozen=True)
class Cutoff:
    """A threshold set on the scores of other subjects.

    Attributes:
        value: The threshold.
        drawn: (resamples,) the threshold in each resample of these subjects.
    """

    value: float
    drawn: Values


def cutoff(scores: Values, rank: int) -> Cutoff:
    """Use the score with a given rank as a threshold.

    Args:
        scores: (subjects,) scores.
        rank: The rank of the threshold among the scores, from 1 = lowest.

    Returns:
        The threshold, for the subjects and for each resample of them.
    """
    ordered = np.sort(scores)
    counts = subject_resamples(len(scores), seed=4)  # subjects are exchangeable, so they may be sorted by score
    reached = np.cumsum(counts, axis=1) >= rank
    return Cutoff(float(ordered[rank - 1]), ordered[reached.argmax(axis=1)])


def share_above(scores: Values, limit: Cutoff, level: float = LEVEL) -> Interval:
    """The share of scans above a threshold that was set on other subjects and is therefore uncertain.

    Both groups of subjects are resampled. The interval is at least as wide as the Clopper-Pearson interval at this
    threshold, because resamples do not vary if all scores lie on one side of it.

    Args:
        scores: (subjects,) or (subjects, draws) scores.
        limit: The threshold, from `cutoff`.
        level: The confidence level.

    Returns:
        The share with its interval.
    """
    subjects = len(scores)
    scores = scores.reshape(subjects, -1)
    share = float((scores > limit.value).mean())
    plain = share_interval(share, subjects, level)
    if subjects < 2 or plain.low is None or plain.high is None:
        return plain
    counts = subject_resamples(subjects)
    values, index = np.unique(limit.drawn, return_inverse=True)
    above = (scores[:, :, None] > values).sum(axis=1).astype(np.float64)  # (subjects, values)
    drawn = (counts @ above)[np.arange(len(counts)), index] / scores.size
    low, high = percentiles(drawn, subjects, level)
    return Interval(share, max(0.0, min(low, plain.low)), min(1.0, max(high, plain.high)))


def share_above_others(healthy: Values, altered: Values, specificity: float, level: float = LEVEL) -> Interval:
    """The share of altered scans above a threshold that lets every model raise the same share of false alarms.

    The threshold of a subject is set on the healthy scans of the *other* subjects, such that at most 1 - `specificity`
    of the healthy scans are above theirs. For the interval, subjects are resampled, each with both scans, and the
    threshold is set again in each resample. The interval is at least as wide as that of Clopper and Pearson.

    Args:
        healthy: (subjects,) scores, without NaN.
        altered: (subjects,) or (subjects, draws) scores in the same order, without NaN.
        specificity: The share of healthy scans that are not above the threshold.
        level: The confidence level.

    Returns:
        The share with its interval; all values are None if there are too few subjects for this specificity.
    """
    subjects = len(healthy)
    rank = _rank_for(specificity, subjects)
    if rank >= subjects:
        return Interval(None, None, None)
    altered, order = altered.reshape(subjects, -1), np.argsort(healthy, kind="stable")
    ordered, place = healthy[order], np.argsort(order)
    share = float((altered > ordered[np.where(place < rank, rank, rank - 1)][:, None]).mean())
    counts = subject_resamples(subjects)
    drawn = ordered[(np.cumsum(counts[:, order], axis=1) >= rank).argmax(axis=1)]
    values, index = np.unique(drawn, return_inverse=True)
    above = (altered[:, :, None] > values).sum(axis=1).astype(np.float64)  # (subjects, values)
    low, high = percentiles((counts @ above)[np.arange(len(counts)), index] / altered.size, subjects, level)
    plain = share_interval(share, subjects, level)
    lower, upper = plain.low or 0.0, 1.0 if plain.high is None else plain.high
    return Interval(share, max(0.0, min(low, lower)), min(1.0, max(high, upper)))


def matched_cutoff(healthy: Values, specificity: float) -> Cutoff | None:
    """The threshold that at most 1 - `specificity` of new healthy scans exceed, for scans of other subjects.

    Args:
        healthy: (subjects,) scores, without NaN.
        specificity: The share of healthy scans that are not above the threshold.

    Returns:
        The threshold; None if there are too few subjects for this specificity.
    """
    rank = _rank_for(specificity, len(healthy) + 1)
    return cutoff(healthy, rank) if rank <= len(healthy) else None


def _rank_for(specificity: float, subjects: int) -> int:
    """The lowest rank among the others' scores that one of `subjects` exceeds with at most 1 - `specificity`."""
    return int(np.ceil(specificity * subjects - 1e-9))


def rank_correlation(a: Values, b: Values, level: float = LEVEL) -> Interval:
    """Spearman's rank correlation with the interval of Bonett and Wright (2000, Psychometrika 65:23).

    Args:
        a: (subjects,) the first variable. Subjects with NaN in `a` or `b` are left out.
        b: (subjects,) the second variable.
        level: The confidence level.

    Returns:
        The correlation with its interval; all values are None for fewer than ten subjects or a constant variable.
    """
    finite = np.isfinite(a) & np.isfinite(b)
    n = int(finite.sum())
    if n < 10 or np.ptp(a[finite]) == 0 or np.ptp(b[finite]) == 0:
        return Interval(None, None, None)
    r = float(stats.spearmanr(a[finite], b[finite]).statistic)
    if abs(r) > 1 - 1e-9:
        return Interval(r, None, None)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + r**2 / 2) / (n - 3))
    return Interval(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))
