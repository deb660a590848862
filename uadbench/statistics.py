"""Uncertainty and comparison of scores. The unit is the subject: test sets that share subjects are resampled together.

Treating the test sets as independent data would be pseudo-replication: 54 test sets of 100 subjects are 100
observations, not 5,400. `python -m uadbench.statistics` prints how often the intervals cover and the tests reject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95


def subject_resamples(subjects: int, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each resample draws each subject, (resamples, subjects); every row sums to `subjects`.

    The same arguments give the same resamples, so that all columns and models are resampled together.
    """
    drawn = np.random.default_rng(seed).integers(0, subjects, (resamples, subjects))
    offsets = subjects * np.arange(resamples)[:, None]
    counts = np.bincount((drawn + offsets).ravel(), minlength=resamples * subjects)
    return counts.reshape(resamples, subjects).astype(np.float64)


def resampled_means(values: Values, counts: Values) -> Values:
    """The mean of every column in every resample: one matrix product.

    Parameters
    ----------
    values : (subjects, columns); NaN is n/a for that subject
    counts : (resamples, subjects)

    Returns (resamples, columns); NaN where a resample holds no known value.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray((counts @ np.where(known, values, 0.0)) / (counts @ known.astype(np.float64)))


@dataclass(frozen=True)
class Interval:
    """A mean over subjects with its confidence interval; all None where fewer than two subjects are known."""

    mean: float | None
    low: float | None
    high: float | None


def mean_intervals(values: Values, level: float = LEVEL, counts: Values | None = None) -> list[Interval]:
    """The mean of each column with its bootstrap interval over subjects.

    The expanded percentile interval (Hesterberg 2015, Am Stat 69:371): percentiles moved outward as far as Student's t
    lies outside the normal, because the plain percentile interval is too short for few subjects.

    Parameters
    ----------
    values : (subjects, columns); NaN is n/a
    counts : resamples to use, so that several tables share them; by default `subject_resamples`
    """
    counts = subject_resamples(len(values)) if counts is None else counts
    drawn = resampled_means(values, counts)
    intervals = []
    for column, means in zip(values.T, drawn.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known) < 2:
            intervals.append(Interval(float(known[0]) if len(known) else None, None, None))
            continue
        tail = _expanded_tail(len(known), level)
        low, high = np.nanquantile(means, [tail, 1 - tail])
        intervals.append(Interval(float(known.mean()), float(low), float(high)))
    return intervals


def _expanded_tail(n: int, level: float) -> float:
    outward = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    return float(stats.norm.cdf(-outward))


@dataclass(frozen=True)
class Comparison:
    """Two models on the same subjects.

    Attributes
    ----------
    difference : mean of a - b over subjects, with its interval
    p : two-sided Wilcoxon signed-rank test; None where no subject differs
    effect : matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014); None like p
    prefer_a, prefer_b : how many subjects score higher under each
    subjects : how many are known under both
    """

    difference: Interval
    p: float | None
    effect: float | None
    prefer_a: int
    prefer_b: int
    subjects: int


def compare_paired(a: Values, b: Values) -> Comparison:
    """Compare two models, subject by subject.

    Parameters
    ----------
    a, b : (subjects,) scores in the same order; a subject that is NaN under either is left out

    Raises ValueError where the lengths differ.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"scores {a.shape} and {b.shape} are not those of the same subjects")
    off = (a - b)[np.isfinite(a) & np.isfinite(b)]
    moved = off[off != 0]
    (interval,) = mean_intervals(off[:, None])
    p = effect = None
    if len(moved):
        p = float(stats.wilcoxon(moved).pvalue)
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())
    return Comparison(interval, p, effect, int((off > 0).sum()), int((off < 0).sum()), len(off))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment of a family of tests; a test that is n/a (None) is no member of the family."""
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for step, (p, place) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - step) * p))
        adjusted[place] = highest
    return adjusted


def rank_intervals(scores: Values, level: float = LEVEL, counts: Values | None = None) -> list[tuple[int, int]]:
    """Between which ranks each model lies when subjects are resampled (Wiesenfarth 2021, Sci Rep 11:2369).

    Parameters
    ----------
    scores : (subjects, models), higher = better; equal means share the better rank
    """
    low, high = np.quantile(_resampled_ranks(scores, counts), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(int(np.floor(a)), int(np.ceil(b))) for a, b in zip(low, high, strict=True)]


def ranking_stability(scores: Values, counts: Values | None = None) -> float | None:
    """Mean Kendall tau between the ranking of all subjects and those of resamples; None for a single model."""
    if scores.shape[1] < 2:
        return None
    whole = np.nanmean(scores, axis=0)
    taus = [stats.kendalltau(whole, -ranks).statistic for ranks in _resampled_ranks(scores, counts)[:1000]]
    known = [tau for tau in taus if np.isfinite(tau)]
    return float(np.mean(known)) if known else None


def _resampled_ranks(scores: Values, counts: Values | None) -> Values:
    counts = subject_resamples(len(scores)) if counts is None else counts
    means = resampled_means(scores, counts)
    return np.asarray(stats.rankdata(-np.round(means, 12), method="min", axis=1))


def tie_groups(scores: Values, level: float = LEVEL) -> list[int]:
    """The group of each model, 1 = best: nobody in a group differs significantly from the best of it.

    Models are taken by falling mean; a new group begins with the first that differs from its group's best by the
    Holm-adjusted Wilcoxon test over all pairs.

    Parameters
    ----------
    scores : (subjects, models), higher = better
    """
    count = scores.shape[1]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    adjusted = holm([compare_paired(scores[:, i], scores[:, j]).p for i, j in pairs])
    p = dict(zip(pairs, adjusted, strict=True))
    groups, best, group = [0] * count, -1, 0
    for model in np.argsort(-np.nanmean(scores, axis=0), kind="stable").tolist():
        between = p[max(model, best), min(model, best)] if best >= 0 and model != best else None
        if best < 0 or (between is not None and between < 1 - level):
            best, group = model, group + 1
        groups[model] = group
    return groups


@dataclass(frozen=True)
class Calibration:
    """How the statistics behave on made-up scores whose truth is known; shares of `trials`."""

    subjects: int
    covered: float
    rejected: float
    rejected_if_pooled: float


def calibrate(subjects: int, trials: int = 1000, resamples: int = 1000, seed: int = 0) -> Calibration:
    """Simulate scores of two equal models on 6 test sets that share their subjects.

    Scores are skewed, as average precisions near 1 are, and a subject's differences hang together over the test sets
    (intraclass correlation 0.8). Counted: how often the interval of a mean covers the truth; how often the paired
    comparison rejects; and how often it would, if the test sets were pooled as independent observations, which this
    module refuses to do.
    """
    rng = np.random.default_rng(seed)
    counts = subject_resamples(subjects, resamples, seed)
    truth = 8 / (8 + 3)
    covered = rejected = pooled = 0
    for _ in range(trials):
        person = rng.beta(8, 3, subjects)
        (interval,) = mean_intervals(person[:, None], counts=counts)
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
        shared = 0.02 * rng.standard_normal((subjects, 1)) + 0.01 * rng.standard_normal((subjects, 6))
        rejected += stats.wilcoxon(shared.mean(axis=1)).pvalue < 1 - LEVEL
        pooled += stats.wilcoxon(shared.ravel()).pvalue < 1 - LEVEL
    return Calibration(subjects, covered / trials, rejected / trials, pooled / trials)


if __name__ == "__main__":
    print("subjects  interval covers  paired test rejects  pooled test sets would reject")
    for size in (30, 100):
        found = calibrate(size)
        shares = (found.covered, found.rejected, found.rejected_if_pooled)
        print(f"{size:8d}  {shares[0]:15.1%}  {shares[1]:19.1%}  {shares[2]:29.1%}")
