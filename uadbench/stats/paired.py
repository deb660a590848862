"""Paired comparison and ranking of models: signed-rank tests, Holm's adjustment, rank intervals, and tie groups.

The unit of observation is the subject, and test sets with the same subjects are resampled together. Treating test sets
as independent data would be pseudo-replication: 54 test sets of 100 subjects are 100 observations, not 5,400.
`python -m uadbench.stats.paired` prints the coverage of the intervals and the rejection rates of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from uadbench.runtime.plurals import counted
from uadbench.stats.bootstrap import (
    LEVEL,
    Interval,
    mean_intervals,
    mean_over_seeds,
    resampled_means,
    seed_noise,
    subject_resamples,
    widened,
)
from uadbench.types import Values

ROWS = 64
"""The largest number of tests in one call to SciPy, which for few subjects with ties stores all sign assignments of
each test."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of two models, a and b, on the same subjects.

    Attributes:
        difference: The mean of a - b over subjects, with its interval.
        p: The p-value of the two-sided Wilcoxon signed-rank test; None if no subject differs.
        effect: The matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014); None if no subject differs.
        prefer_a: The number of subjects with a higher score under a.
        prefer_b: The number of subjects with a higher score under b.
        subjects: The number of subjects with a score under both models.
    """

    difference: Interval
    p: float | None
    effect: float | None
    prefer_a: int
    prefer_b: int
    subjects: int

    @property
    def moved(self) -> int:
        """The number of subjects whose scores differ; the test uses only these."""
        return self.prefer_a + self.prefer_b

    def decided(self, p: float | None, level: float = LEVEL) -> bool:
        """Whether the models differ significantly: p is below 1 - level, and the interval excludes 0.

        The test accounts for the variability of subjects only; the interval also accounts for that of training seeds.

        Args:
            p: The p-value, adjusted for multiple comparisons; None is never significant.
            level: The confidence level.

        Returns:
            Whether both conditions hold.
        """
        low, high = self.difference.low, self.difference.high
        return p is not None and p < 1 - level and low is not None and high is not None and not low <= 0 <= high


def compare_paired(a: Values, b: Values) -> Comparison:
    """Compare two models by the paired scores of their subjects.

    Args:
        a: (subjects,) or (seeds, subjects) scores of the first model. Scores are averaged over seeds; subjects with
            NaN under either model are left out.
        b: The scores of the second model, with the subjects in the same order.

    Returns:
        The comparison.

    Raises:
        ValueError: If the numbers of subjects differ.
    """
    first, second = np.atleast_2d(a), np.atleast_2d(b)
    if first.shape[1] != second.shape[1] or a.ndim > 2 or b.ndim > 2:
        raise ValueError(f"scores of shapes {a.shape} and {b.shape} are not of the same subjects")
    off = _centre(first) - _centre(second)
    finite = np.isfinite(off)
    off = off[finite]
    moved = off[off != 0]
    (plain,) = mean_intervals(off[:, None])
    noise = [seed_noise(first[:, finite]), seed_noise(second[:, finite])] if len(off) else []
    p = effect = None
    if len(moved):
        (p,) = signed_rank_p(moved[None])
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())
    interval = widened(plain, off, noise)
    return Comparison(interval, p, effect, int((off > 0).sum()), int((off < 0).sum()), len(off))


def least_p(subjects: int, tests: int = 1) -> float:
    """The smallest possible Holm-adjusted p-value of the two-sided signed-rank test.

    Args:
        subjects: The number of subjects that differ. If all differ in the same direction, p = 2 / 2^subjects.
        tests: The number of tests in the family, by which Holm's adjustment multiplies the smallest p-value.

    Returns:
        The p-value, at most 1.
    """
    return min(1.0, tests * 2.0 ** (1 - subjects)) if subjects else 1.0


def too_few(subjects: int, tests: int, level: float = LEVEL) -> str:
    """Explain why no test of a family can be significant, whatever the scores.

    Args:
        subjects: The number of subjects that differ.
        tests: The number of tests in the family.
        level: The confidence level.

    Returns:
        The explanation; "" if a test can be significant.
    """
    least = least_p(subjects, tests)
    if least < 1 - level:
        return ""
    family = "" if tests == 1 else f" and {tests} comparisons"
    return f"with {counted(subjects, 'participant')}{family} p cannot be below {f'{least:.3f}'.removeprefix('0')}"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for multiple comparisons by Holm's method.

    Args:
        p_values: The p-values of the tests; None (n/a) does not count as a test.

    Returns:
        The adjusted p-values in the same order; None where `p_values` is None.
    """
    tests = [(p, index) for index, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for step, (p, index) in enumerate(sorted(tests)):
        highest = max(highest, min(1.0, (len(tests) - step) * p))
        adjusted[index] = highest
    return adjusted


def rank_intervals(models: Sequence[Values], level: float = LEVEL) -> list[tuple[int, int]]:
    """The interval of each model's rank under resampling of subjects (Wiesenfarth 2021, Sci Rep 11:2369).

    Args:
        models: The scores of each model, (subjects,) or (seeds, subjects), higher = better. Models with equal means
            share the better rank.
        level: The confidence level.

    Returns:
        The lowest and highest rank of each model; 1 = best.
    """
    low, high = np.quantile(_resampled_ranks(models), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(int(np.floor(a)), int(np.ceil(b))) for a, b in zip(low, high, strict=True)]


def ranking_stability(models: Sequence[Values]) -> float | None:
    """The mean Kendall tau between the ranking on all subjects and the rankings on resamples.

    Args:
        models: As in `rank_intervals`.

    Returns:
        The mean tau, -1 to 1; None for a single model, or if tau is undefined.
    """
    if len(models) < 2:
        return None
    whole = np.nanmean(np.stack([_centre(np.atleast_2d(each)) for each in models], axis=1), axis=0)
    taus = [stats.kendalltau(whole, -ranks).statistic for ranks in _resampled_ranks(models)[:1000]]
    finite = [tau for tau in taus if np.isfinite(tau)]
    return float(np.mean(finite)) if finite else None


def _resampled_ranks(models: Sequence[Values]) -> Values:
    """The ranks in each resample, (resamples, models), with added seed noise for models with several seeds."""
    scores = np.stack([_centre(np.atleast_2d(each)) for each in models], axis=1)
    means = resampled_means(scores, subject_resamples(len(scores)))
    rng = np.random.default_rng(5)
    for model, each in enumerate(models):
        noise = seed_noise(np.atleast_2d(each))
        if noise.seeds > 1:
            means[:, model] += np.sqrt(noise.variance) * rng.standard_t(noise.seeds - 1, len(means))
    return np.asarray(stats.rankdata(-np.round(means, 12), method="min", axis=1))


def tie_groups(models: Sequence[Values], level: float = LEVEL) -> list[int]:
    """Group models that do not differ significantly from the best model of their group.

    Models are visited in order of decreasing mean. A model that differs significantly (`Comparison.decided`) from the
    best model of the current group, by the Holm-adjusted test over all pairs, starts a new group.

    Args:
        models: As in `rank_intervals`.
        level: The confidence level.

    Returns:
        The group of each model; 1 = best.
    """
    count = len(models)
    centres = np.stack([_centre(np.atleast_2d(each)) for each in models])
    pairwise = [p for i in range(1, count) for p in signed_rank_p(centres[i] - centres[:i])]
    adjusted = iter(holm(pairwise))
    p_values = {(i, j): next(adjusted) for i in range(count) for j in range(i)}
    means = [float(np.nanmean(each)) for each in centres]
    groups, best, group = [0] * count, -1, 0
    for model in sorted(range(count), key=lambda k: -means[k]):
        p = None if best < 0 else p_values[max(model, best), min(model, best)]
        # the interval is slower than the test, and needed only where the test is significant
        if best < 0 or (
            p is not None and p < 1 - level and compare_paired(models[model], models[best]).decided(p, level)
        ):
            best, group = model, group + 1
        groups[model] = group
    return groups


def signed_rank_p(differences: Values) -> list[float | None]:
    """Two-sided p-values of Wilcoxon's signed-rank test.

    Rows with the same number of differences, and with or without ties, are tested in one call, because SciPy uses one
    method for all rows of a call.

    Args:
        differences: (tests, subjects) paired differences; zeros (Wilcoxon 1945) and NaN are left out.

    Returns:
        The p-value of each row; None for a row without differences.
    """
    moved = np.isfinite(differences) & (differences != 0)
    counts = moved.sum(axis=1)
    sizes = np.sort(np.where(moved, np.abs(differences), np.nan), axis=1)
    tied = (np.diff(sizes, axis=1) == 0).any(axis=1)
    p_values: list[float | None] = [None] * len(differences)
    for count, ties in {*zip(counts.tolist(), tied.tolist(), strict=True)} - {(0, False)}:
        alike = np.flatnonzero((counts == count) & (tied == ties))
        for rows in np.split(alike, range(ROWS, len(alike), ROWS)):
            group_p = stats.wilcoxon(differences[rows][moved[rows]].reshape(-1, count), axis=1).pvalue
            for row, p in zip(rows, group_p, strict=True):
                p_values[row] = float(p)
    return p_values


def _centre(scores: Values) -> Values:
    """The mean over seeds: (seeds, subjects) to (subjects,)."""
    return mean_over_seeds(scores[..., None])[:, 0]


@dataclass(frozen=True)
class CoverageCheck:
    """The behaviour of the statistics on simulated scores, as shares of the trials.

    Attributes:
        subjects: The number of subjects.
        seeds: The number of training seeds.
        covered: How often the interval of a mean covers the true mean.
        rejected: How often two equal models are found to differ.
        rejected_if_pooled: The same if test sets are pooled as independent observations.
        rejected_if_seeds_are_ignored: The same if scores are averaged over seeds first.
    """

    subjects: int
    seeds: int
    covered: float
    rejected: float
    rejected_if_pooled: float
    rejected_if_seeds_are_ignored: float


def calibrate(subjects: int, seeds: int = 1, trials: int = 1000, seed: int = 0) -> CoverageCheck:
    """Simulate two equal models on 6 test sets with the same subjects, and check coverage and rejection rates.

    Scores are skewed, like average precisions near 1, and a subject's differences are correlated across test sets
    (intraclass correlation 0.8). With several seeds, each training shifts all scores of its model (SD 0.02); the true
    value is the mean over all possible trainings. For comparison, the rejection rates are also computed with test sets
    pooled as independent observations and with the variability of seeds ignored; this module does neither.

    Args:
        subjects: The number of subjects.
        seeds: The number of training seeds of each model.
        trials: The number of simulations.
        seed: The seed of the random numbers.

    Returns:
        The shares of the trials.
    """
    rng = np.random.default_rng(seed)
    truth = 8 / (8 + 3)
    covered = rejected = pooled = ignored = 0
    for _ in range(trials):
        person = rng.beta(8, 3, subjects)
        shift = 0.02 * rng.standard_normal((2, seeds, 1)) if seeds > 1 else np.zeros((2, 1, 1))
        shared = 0.02 * rng.standard_normal((subjects, 1)) + 0.01 * rng.standard_normal((subjects, 6))
        first, second = person + shift[0], person + shift[1] + shared.mean(axis=1)
        (interval,) = mean_intervals(first[..., None])
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
        comparison, blind = compare_paired(first, second), compare_paired(_centre(first), _centre(second))
        rejected += comparison.decided(comparison.p)
        pooled += stats.wilcoxon((shared + shift[1].mean() - shift[0].mean()).ravel()).pvalue < 1 - LEVEL
        ignored += blind.decided(blind.p)
    shares = (count / trials for count in (covered, rejected, pooled, ignored))
    return CoverageCheck(subjects, seeds, *shares)


if __name__ == "__main__":
    print("subjects  seeds  interval covers  equal models differ  if test sets are pooled    if seeds are ignored")
    for size, trainings in ((30, 1), (100, 1), (30, 3), (100, 3)):
        c = calibrate(size, trainings)
        print(
            f"{size:8d}  {trainings:5d}  {c.covered:15.1%}  {c.rejected:19.1%}  {c.rejected_if_pooled:23.1%}  "
            f"{c.rejected_if_seeds_are_ignored:22.1%}"
        )
