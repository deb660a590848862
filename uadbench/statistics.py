"""Uncertainty and comparison of scores. The unit is the subject: test sets that share subjects are resampled together.

Treating the test sets as independent data would be pseudo-replication: 54 test sets of 100 subjects are 100
observations, not 5,400. `python -m uadbench.statistics` prints how often the intervals cover and the tests reject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from uadbench.resampling import (
    LEVEL,
    Interval,
    Values,
    crossed_means,
    mean_intervals,
    mean_over_seeds,
    percentiles,
    resampled_means,
    subject_resamples,
)

FEWEST = 5
"""Subjects that an interval of an AUROC takes at least."""


def auroc_among(healthy: Values, altered: Values, level: float = LEVEL, counts: Values | None = None) -> Interval:
    """How often an altered scan scores above the healthy scan of *another* subject; a tie counts half.

    That is the AUROC without the pairs of a subject with himself, which any model orders and no reader is asked about.
    Subjects are resampled with both of their scans.

    Parameters
    ----------
    healthy : (subjects,) scores
    altered : (subjects,) or (subjects, draws), in the same order; NaN is not allowed

    All None for fewer than two subjects, and no interval for fewer than five.
    """
    subjects = len(healthy)
    if subjects < 2:
        return Interval(None, None, None)
    counts = subject_resamples(subjects) if counts is None else counts
    wins = _wins(healthy, altered.reshape(subjects, -1))
    np.fill_diagonal(wins, 0.0)
    pairs = subjects**2 - np.square(counts).sum(axis=1)  # of different subjects; a resample of one subject has none
    with np.errstate(invalid="ignore"):
        drawn = ((counts @ wins) * counts).sum(axis=1) / pairs
    return _auroc(float(wins.sum() / (subjects * (subjects - 1))), drawn, subjects, level)


def auroc_between(healthy: Values, ill: Values, level: float = LEVEL) -> Interval:
    """The AUROC of two groups of different people; either group is resampled by itself.

    All None where a group has fewer than two, and no interval for fewer than five.
    """
    if min(len(healthy), len(ill)) < 2:
        return Interval(None, None, None)
    wins = _wins(healthy, ill[:, None])
    of_healthy, of_ill = subject_resamples(len(healthy)), subject_resamples(len(ill), seed=2)
    drawn = ((of_healthy @ wins) * of_ill).sum(axis=1) / wins.size
    return _auroc(float(wins.mean()), drawn, min(wins.shape), level)


def _wins(healthy: Values, ill: Values) -> Values:
    """(healthy, ill): 1 where the ill scan scores higher, 0.5 where equal; mean over the draws of `ill`."""
    above = ill[None] > healthy[:, None, None]
    return np.asarray((above + 0.5 * (ill[None] == healthy[:, None, None])).mean(axis=2))


def _auroc(value: float, drawn: Values, subjects: int, level: float) -> Interval:
    """With its interval. Where no pair is out of order no resample has one either: there the binomial bound stands."""
    if subjects < FEWEST:  # hardly a resample holds two different subjects
        return Interval(value, None, None)
    low, high = percentiles(drawn, subjects, level)
    unseen = ((1 - level) / 2) ** (1 / subjects)
    return Interval(value, min(low, unseen) if value == 1 else low, max(high, 1 - unseen) if value == 0 else high)


def share_interval(share: float, observations: float, level: float = LEVEL) -> Interval:
    """A share with the interval of Clopper and Pearson (1934, Biometrika 26:404); all None for no observation."""
    if observations <= 0:
        return Interval(None, None, None)
    found = share * observations
    tails = (1 - level) / 2, (1 + level) / 2
    low = float(stats.beta.ppf(tails[0], found, observations - found + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(tails[1], found + 1, observations - found)) if share < 1 else 1.0
    return Interval(share, low, high)


def rank_correlation(a: Values, b: Values, level: float = LEVEL) -> Interval:
    """Spearman's correlation with the interval of Bonett and Wright (2000, Psychometrika 65:23).

    Parameters
    ----------
    a, b : (subjects,); a subject that is NaN in either is left out

    All None for fewer than ten subjects, or where one of the two does not vary.
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
    a, b : (subjects,) scores in the same order, or (seeds, subjects); a subject that is NaN under either is left out.
        The test is on each subject's mean over seeds; the interval resamples seeds, too, so that a difference which
        another training might not show again has an interval that holds 0

    Raises ValueError where the subjects are not the same.
    """
    first, second = np.atleast_2d(a), np.atleast_2d(b)
    if first.shape[1] != second.shape[1] or a.ndim > 2 or b.ndim > 2:
        raise ValueError(f"scores {a.shape} and {b.shape} are not those of the same subjects")
    ours, theirs = mean_over_seeds(first[..., None])[:, 0], mean_over_seeds(second[..., None])[:, 0]
    known = np.isfinite(ours) & np.isfinite(theirs)
    off = (ours - theirs)[known]
    moved = off[off != 0]
    interval = _difference(first[:, known], second[:, known])
    p = effect = None
    if len(moved):
        p = float(stats.wilcoxon(moved).pvalue)
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())
    return Comparison(interval, p, effect, int((off > 0).sum()), int((off < 0).sum()), len(off))


def _difference(a: Values, b: Values) -> Interval:
    """The mean of a - b over subjects; the seeds of the two, which have nothing in common, are drawn apart."""
    subjects = a.shape[1]
    mean = (mean_over_seeds(a[..., None]) - mean_over_seeds(b[..., None]))[:, 0]
    if len(a) == len(b) == 1 or subjects < 2:
        return mean_intervals(mean[:, None])[0]
    counts = subject_resamples(subjects)
    drawn = [
        crossed_means(one[..., None], counts, subject_resamples(len(one), len(counts), seed))[:, 0]
        for seed, one in ((1, a), (3, b))
    ]
    low, high = percentiles(drawn[0] - drawn[1], subjects)
    return Interval(mean_intervals(mean[:, None])[0].mean, low, high)


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
    """How the statistics behave on made-up scores whose truth is known; shares of the trials."""

    subjects: int
    seeds: int
    covered: float
    rejected: float
    rejected_if_pooled: float


def calibrate(subjects: int, seeds: int = 1, trials: int = 1000, resamples: int = 1000, seed: int = 0) -> Calibration:
    """Simulate scores of two equal models on 6 test sets that share their subjects.

    Scores are skewed, as average precisions near 1 are, and a subject's differences hang together over the test sets
    (intraclass correlation 0.8). With several seeds a training moves all of its scores (SD 0.01), which counts as
    error: the truth is the mean over all trainings there might be. Counted: how often the interval of a mean covers
    the truth; how often the paired comparison rejects; and how often it would, if the test sets were pooled as
    independent observations, which this module refuses to do.
    """
    rng = np.random.default_rng(seed)
    counts = subject_resamples(subjects, resamples, seed)
    truth = 8 / (8 + 3)
    covered = rejected = pooled = 0
    for _ in range(trials):
        person = rng.beta(8, 3, subjects)
        trained = person + (0.01 * rng.standard_normal((seeds, 1)) if seeds > 1 else np.zeros((1, 1)))
        (interval,) = mean_intervals(trained[..., None], counts=counts)
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
        shared = 0.02 * rng.standard_normal((subjects, 1)) + 0.01 * rng.standard_normal((subjects, 6))
        rejected += stats.wilcoxon(shared.mean(axis=1)).pvalue < 1 - LEVEL
        pooled += stats.wilcoxon(shared.ravel()).pvalue < 1 - LEVEL
    return Calibration(subjects, seeds, covered / trials, rejected / trials, pooled / trials)


if __name__ == "__main__":
    print("subjects  seeds  interval covers  paired test rejects  pooled test sets would reject")
    for size, trainings in ((30, 1), (100, 1), (30, 3), (100, 3)):
        found = calibrate(size, trainings)
        shares = (found.covered, found.rejected, found.rejected_if_pooled)
        print(f"{size:8d}  {trainings:5d}  {shares[0]:15.1%}  {shares[1]:19.1%}  {shares[2]:29.1%}")
