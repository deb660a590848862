"""Uncertainty and comparison of scores. The unit is the subject: test sets that share subjects are resampled together.

Treating the test sets as independent data would be pseudo-replication: 54 test sets of 100 subjects are 100
observations, not 5,400. `python -m uadbench.stats.paired` prints how often the intervals cover and the tests reject.
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
"""Tests in one call to SciPy, at most: where few subjects tie, it holds every assignment of signs for each of them."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the same subjects.

    Attributes:
        difference: Mean of a - b over subjects, with its interval.
        p: Two-sided Wilcoxon signed-rank test; None where no subject differs.
        effect: Matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014); None like p.
        prefer_a, prefer_b: How many subjects score higher under each.
        subjects: How many are known under both.
    """

    difference: Interval
    p: float | None
    effect: float | None
    prefer_a: int
    prefer_b: int
    subjects: int

    @property
    def moved(self) -> int:
        """How many subjects differ: only they count in the test."""
        return self.prefer_a + self.prefer_b

    def decided(self, p: float | None, level: float = LEVEL) -> bool:
        """Whether the two differ, given their p among others': it is below 1 - level, and the interval leaves out 0.

        The test knows subjects only; the interval knows that another training might not show the difference again.
        """
        low, high = self.difference.low, self.difference.high
        return p is not None and p < 1 - level and low is not None and high is not None and not low <= 0 <= high


def compare_paired(a: Values, b: Values) -> Comparison:
    """Compare two models, subject by subject.

    Args:
        a, b: (subjects,) scores in the same order, or (seeds, subjects); a subject that is NaN under either is left
            out. The test is on each subject's mean over seeds.

    Raises:
        ValueError: Where the subjects are not the same.
    """
    first, second = np.atleast_2d(a), np.atleast_2d(b)
    if first.shape[1] != second.shape[1] or a.ndim > 2 or b.ndim > 2:
        raise ValueError(f"scores {a.shape} and {b.shape} are not those of the same subjects")
    off = _centre(first) - _centre(second)
    known = np.isfinite(off)
    off = off[known]
    moved = off[off != 0]
    (plain,) = mean_intervals(off[:, None])
    noise = [seed_noise(first[:, known]), seed_noise(second[:, known])] if len(off) else []
    p = effect = None
    if len(moved):
        (p,) = signed_rank_p(moved[None])
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())
    interval = widened(plain, off, noise)
    return Comparison(interval, p, effect, int((off > 0).sum()), int((off < 0).sum()), len(off))


def least_p(subjects: int, tests: int = 1) -> float:
    """The smallest Holm-adjusted p that the two-sided signed-rank test can give.

    Args:
        subjects: How many differ; all of them the same way is the most that can be seen, which has p = 2 / 2^subjects.
        tests: The size of the family; Holm multiplies its smallest p by it, and gives none a smaller one.
    """
    return min(1.0, tests * 2.0 ** (1 - subjects)) if subjects else 1.0


def too_few(subjects: int, tests: int, level: float = LEVEL) -> str:
    """Why no test of a family can be decided, whatever the scores; "" where one can."""
    least = least_p(subjects, tests)
    if least < 1 - level:
        return ""
    family = "" if tests == 1 else f" and {tests} comparisons"
    return f"with {counted(subjects, 'participant')}{family} p cannot be below {f'{least:.3f}'.removeprefix('0')}"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment of a family of tests; a test that is n/a (None) is no member of the family."""
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for step, (p, place) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - step) * p))
        adjusted[place] = highest
    return adjusted


def rank_intervals(models: Sequence[Values], level: float = LEVEL) -> list[tuple[int, int]]:
    """Between which ranks each model lies when subjects are resampled (Wiesenfarth 2021, Sci Rep 11:2369).

    Args:
        models: For each its scores, (subjects,) or (seeds, subjects), higher = better; equal means share the better
            rank.
    """
    low, high = np.quantile(_resampled_ranks(models), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(int(np.floor(a)), int(np.ceil(b))) for a, b in zip(low, high, strict=True)]


def ranking_stability(models: Sequence[Values]) -> float | None:
    """Mean Kendall tau between the ranking of all subjects and those of resamples; None for a single model."""
    if len(models) < 2:
        return None
    whole = np.nanmean(np.stack([_centre(np.atleast_2d(each)) for each in models], axis=1), axis=0)
    taus = [stats.kendalltau(whole, -ranks).statistic for ranks in _resampled_ranks(models)[:1000]]
    known = [tau for tau in taus if np.isfinite(tau)]
    return float(np.mean(known)) if known else None


def _resampled_ranks(models: Sequence[Values]) -> Values:
    """(resamples, models); a model of several seeds is moved, too, as far as other seeds might have moved it."""
    scores = np.stack([_centre(np.atleast_2d(each)) for each in models], axis=1)
    means = resampled_means(scores, subject_resamples(len(scores)))
    rng = np.random.default_rng(5)
    for place, each in enumerate(models):
        noise = seed_noise(np.atleast_2d(each))
        if noise.seeds > 1:
            means[:, place] += np.sqrt(noise.variance) * rng.standard_t(noise.seeds - 1, len(means))
    return np.asarray(stats.rankdata(-np.round(means, 12), method="min", axis=1))


def tie_groups(models: Sequence[Values], level: float = LEVEL) -> list[int]:
    """The group of each model, 1 = best: nobody in a group differs from the best of it.

    Models are taken by falling mean; a new group begins with the first that is `decided` to differ from its group's
    best, by the Holm-adjusted test over all pairs.

    Args:
        models: As in `rank_intervals`.
    """
    count = len(models)
    centres = np.stack([_centre(np.atleast_2d(each)) for each in models])
    found = [p for i in range(1, count) for p in signed_rank_p(centres[i] - centres[:i])]
    adjusted = iter(holm(found))
    p_values = {(i, j): next(adjusted) for i in range(count) for j in range(i)}
    means = [float(np.nanmean(each)) for each in centres]
    groups, best, group = [0] * count, -1, 0
    for model in sorted(range(count), key=lambda k: -means[k]):
        p = None if best < 0 else p_values[max(model, best), min(model, best)]
        # the interval takes longer than the test, and says nothing where that does not
        if best < 0 or (
            p is not None and p < 1 - level and compare_paired(models[model], models[best]).decided(p, level)
        ):
            best, group = model, group + 1
        groups[model] = group
    return groups


def signed_rank_p(differences: Values) -> list[float | None]:
    """Two-sided p of Wilcoxon's signed-rank test for every row of (tests, subjects) differences.

    Zeros (Wilcoxon 1945) and NaN are left out; None for a row of which nothing is left. Rows that keep as many
    differences, with ties or without, share a call: SciPy uses one method for all rows of a call.
    """
    moved = np.isfinite(differences) & (differences != 0)
    counts = moved.sum(axis=1)
    sizes = np.sort(np.where(moved, np.abs(differences), np.nan), axis=1)
    tied = (np.diff(sizes, axis=1) == 0).any(axis=1)
    found: list[float | None] = [None] * len(differences)
    for count, ties in {*zip(counts.tolist(), tied.tolist(), strict=True)} - {(0, False)}:
        alike = np.flatnonzero((counts == count) & (tied == ties))
        for rows in np.split(alike, range(ROWS, len(alike), ROWS)):
            p_values = stats.wilcoxon(differences[rows][moved[rows]].reshape(-1, count), axis=1).pvalue
            for row, p in zip(rows, p_values, strict=True):
                found[row] = float(p)
    return found


def _centre(scores: Values) -> Values:
    """(seeds, subjects) to (subjects,)."""
    return mean_over_seeds(scores[..., None])[:, 0]


@dataclass(frozen=True)
class CoverageCheck:
    """How the statistics behave on made-up scores whose truth is known; shares of the trials."""

    subjects: int
    seeds: int
    covered: float
    rejected: float
    rejected_if_pooled: float
    rejected_if_seeds_are_ignored: float


def calibrate(subjects: int, seeds: int = 1, trials: int = 1000, seed: int = 0) -> CoverageCheck:
    """Simulate two equal models on 6 test sets that share their subjects.

    Scores are skewed, as average precisions near 1 are, and a subject's differences hang together over the test sets
    (intraclass correlation 0.8). With several seeds every training moves all scores of its model (SD 0.02), which
    counts as error: the truth is the mean over all trainings there might be. Counted: how often the interval of a mean
    covers the truth; how often the two are decided to differ; how often they would be, if the test sets were pooled as
    independent observations, or the seeds averaged and forgotten, both of which this module refuses to do.
    """
    rng = np.random.default_rng(seed)
    truth = 8 / (8 + 3)
    covered = rejected = pooled = forgotten = 0
    for _ in range(trials):
        person = rng.beta(8, 3, subjects)
        moved = 0.02 * rng.standard_normal((2, seeds, 1)) if seeds > 1 else np.zeros((2, 1, 1))
        shared = 0.02 * rng.standard_normal((subjects, 1)) + 0.01 * rng.standard_normal((subjects, 6))
        first, second = person + moved[0], person + moved[1] + shared.mean(axis=1)
        (interval,) = mean_intervals(first[..., None])
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
        comparison, blind = compare_paired(first, second), compare_paired(_centre(first), _centre(second))
        rejected += comparison.decided(comparison.p)
        pooled += stats.wilcoxon((shared + moved[1].mean() - moved[0].mean()).ravel()).pvalue < 1 - LEVEL
        forgotten += blind.decided(blind.p)
    shares = (count / trials for count in (covered, rejected, pooled, forgotten))
    return CoverageCheck(subjects, seeds, *shares)


if __name__ == "__main__":
    print("subjects  seeds  interval covers  equal models differ  if test sets are pooled  if seeds are forgotten")
    for size, trainings in ((30, 1), (100, 1), (30, 3), (100, 3)):
        c = calibrate(size, trainings)
        print(
            f"{size:8d}  {trainings:5d}  {c.covered:15.1%}  {c.rejected:19.1%}  {c.rejected_if_pooled:23.1%}  "
            f"{c.rejected_if_seeds_are_ignored:22.1%}"
        )
