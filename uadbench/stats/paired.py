"""The decision rule: paired comparison of all models of a board, Holm's adjustment, and confidence sets of ranks.

The unit of observation is the subject. The score of a subject averages all test sets, because 54 test sets of 100
subjects are 100 observations, not 5,400. Two models are compared by one test, whose variance adds that of three
independent sources: subjects (the paired differences), trainings (see `trainings`) and calibration scans. With one
training of each model and no calibration noise, it is the paired t-test.
`python -m uadbench.stats.decision` prints how often the rule errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats

from uadbench.stats.bootstrap import LEVEL, Interval, Noise, mean_over_seeds, resampled_means, subject_resamples
from uadbench.stats.tails import Spread
from uadbench.stats.trainings import Scored, calibration_noise, mean_replicates, score_noise, training_noise
from uadbench.types import Values

ONE_TRAINING = "training variance not included (one training each)"
"""Says why a comparison holds for these trainings only."""

ROUNDING = 1e-12
"""The largest standard error that is rounding; scores have six digits."""

NO_NOISE = Noise(0.0, 1.0)


@dataclass(frozen=True)
class Comparison:
    """The comparison of two models, a and b, on the same subjects.

    Attributes:
        difference: The mean of a - b over subjects, with its 95 % interval for this pair alone.
        error: The standard error of the difference; None for fewer than two subjects.
        subject_sd: The standard deviation of the difference over subjects; None for fewer than two subjects.
        effect: The matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014); None if no subject differs. It
            describes the subjects, and is no part of the test.
        prefer_a: The number of subjects with a higher score under a.
        prefer_b: The number of subjects with a higher score under b.
        subjects: The number of subjects with a score under both models.
        conditional: Whether the variance of trainings is unknown for one of the models, and not included.
    """

    difference: Interval
    error: float | None
    subject_sd: float | None
    effect: float | None
    prefer_a: int
    prefer_b: int
    subjects: int
    conditional: bool

    @property
    def reversed(self) -> Comparison:
        """The comparison of b and a."""
        mean, low, high = (None if each is None else -each for each in vars(self.difference).values())
        effect = None if self.effect is None else -self.effect
        turned = Interval(mean, high, low)
        return replace(self, difference=turned, effect=effect, prefer_a=self.prefer_b, prefer_b=self.prefer_a)


def significant(p: float | None, level: float = LEVEL) -> bool:
    """Whether a test is significant.

    Args:
        p: The adjusted p-value; None (n/a) is not significant.
        level: The confidence level.

    Returns:
        Whether p is below 1 - level.
    """
    return p is not None and p < 1 - level


def holm(p_values: Values) -> Values:
    """Adjust p-values for multiple comparisons by Holm's method (1979, Scand J Stat 6:65).

    Args:
        p_values: (tests,) the p-values; NaN (n/a) does not count as a test.

    Returns:
        (tests,) the adjusted p-values; NaN where `p_values` is NaN.
    """
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(np.isfinite(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


@dataclass(frozen=True)
class Contrasts:
    """The comparisons of all pairs of several models.

    Attributes:
        centres: (models, subjects) the scores, averaged over trainings.
        noises: The variance of each model's mean over trainings; None if it is unknown.
        first, second: (pairs,) the models of each pair, in the order of `itertools.combinations`.
        spreads: The variances of the differences between each model and all later ones.
        difference: (pairs,) mean of first - second over subjects; NaN without subjects.
        raw: (pairs,) two-sided p-values, not adjusted; NaN if no subject differs, or for fewer than two subjects.
    """

    centres: Values
    noises: tuple[Noise | None, ...]
    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    spreads: tuple[Spread, ...]
    difference: Values
    raw: Values

    @cached_property
    def p(self) -> Values:
        """(pairs,) p-values, Holm-adjusted over all pairs; NaN for n/a."""
        return holm(self.raw)

    @property
    def conditional(self) -> bool:
        """Whether the variance of trainings is unknown for a model, and not included."""
        return len(self.noises) > 1 and any(noise is None for noise in self.noises)

    def pair(self, first: int, second: int) -> int:
        """The position of a pair of models, first before second."""
        models = len(self.centres)
        return first * models - first * (first + 1) // 2 + second - first - 1

    def p_of(self, one: int, other: int) -> float | None:
        """The adjusted p-value of two models in any order; None for n/a."""
        p = float(self.p[self.pair(min(one, other), max(one, other))])
        return None if np.isnan(p) else p

    def comparison(self, first: int, second: int) -> Comparison:
        """Describe one pair.

        Args:
            first: The position of model a.
            second: The position of model b; any other model.

        Returns:
            The comparison.
        """
        if first > second:
            return self.comparison(second, first).reversed
        off = self.centres[first] - self.centres[second]
        off = off[np.isfinite(off)]
        mean = float(self.difference[self.pair(first, second)]) if len(off) else None
        error = bounds = None
        if mean is not None and len(off) > 1:
            spread = self.spreads[first].only(second - first - 1)
            error, half = float(spread.error[0]), spread.half_width()
            bounds = mean - half, mean + half
        return Comparison(
            difference=Interval(mean, *(bounds or (None, None))),
            error=error,
            subject_sd=float(off.std(ddof=1)) if len(off) > 1 else None,
            effect=_rank_biserial(off),
            prefer_a=int((off > 0).sum()),
            prefer_b=int((off < 0).sum()),
            subjects=len(off),
            conditional=self.noises[first] is None or self.noises[second] is None,
        )

    def rank_sets(self, level: float = LEVEL) -> list[tuple[int, int]]:
        """The simultaneous confidence sets of all ranks.

        The sets are those of Mogstad, Romano, Shaikh and Wilhelm (2024, Rev Econ Stud 91:476), with Holm's adjustment:
        with probability `level`, the true ranks of all models are in their sets. A set reaches from 1 + the number of
        models that are significantly better to the number of models minus those that are significantly worse.

        Args:
            level: The confidence level.

        Returns:
            The lowest and highest rank of each model; 1 = best.
        """
        models = len(self.centres)
        decided = self.p < 1 - level
        better = np.where(self.difference > 0, self.first, self.second)[decided]
        worse = np.where(self.difference > 0, self.second, self.first)[decided]
        wins, losses = (np.bincount(each, minlength=models) for each in (better, worse))
        return [(1 + int(lost), models - int(won)) for won, lost in zip(wins, losses, strict=True)]


def _rank_biserial(off: Values) -> float | None:
    moved = off[off != 0]
    if not len(moved):
        return None
    ranks = stats.rankdata(np.abs(moved))
    return float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())


def contrasts(models: Sequence[Scored]) -> Contrasts:
    """Compare all pairs of models.

    Subjects with NaN under either model are left out of a pair.

    Args:
        models: The models, with their subjects in the same order.

    Returns:
        The comparisons.

    Raises:
        ValueError: If the numbers of subjects, or of groups of validation scans, differ.
    """
    if len({model.values.shape[1:] for model in models}) > 1 or any(model.values.ndim != 2 for model in models):
        raise ValueError(f"scores of shapes {[model.values.shape for model in models]} are not of the same subjects")
    centres = np.stack([_centre(model.values) for model in models])
    noises, calibration = tuple(training_noise(models)), _replicates(models)
    rows = [_against(k, centres, noises, calibration) for k in range(len(models) - 1)]
    difference = np.concatenate([mean for mean, _ in rows] or [np.empty(0)])
    raw = np.concatenate([_p(mean, spread) for mean, spread in rows] or [np.empty(0)])
    first, second = np.triu_indices(len(models), 1)
    return Contrasts(centres, noises, first, second, tuple(spread for _, spread in rows), difference, raw)


def _replicates(models: Sequence[Scored]) -> Values | None:
    """The jackknife replicates, (models, groups); 0 for a model without any, and None if no model has some."""
    replicates = [mean_replicates(model) for model in models]
    groups = {len(each) for each in replicates if each is not None}
    if len(groups) > 1:
        raise ValueError(f"jackknife replicates of different numbers of groups: {sorted(groups)}")
    if not groups:
        return None
    (size,) = groups
    return np.stack([np.zeros(size) if each is None else each for each in replicates])


def _against(
    k: int, centres: Values, noises: Sequence[Noise | None], calibration: Values | None
) -> tuple[Values, Spread]:
    """Differences between model k and every later one, and their variances."""
    off = centres[k] - centres[k + 1 :]  # (later models, subjects)
    finite = np.isfinite(off)
    counts = finite.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(finite, off, 0.0).sum(axis=1) / counts
        variance = np.where(finite, (off - mean[:, None]) ** 2, 0.0).sum(axis=1) / (counts - 1) / counts
        uncertainty = variance**2 / (counts - 1)
    if calibration is not None:
        scans = [calibration_noise(each) for each in calibration[k] - calibration[k + 1 :]]
        variance = variance + np.array([each.variance for each in scans])
        uncertainty = uncertainty + np.array([each.variance**2 / each.freedom for each in scans])
    variance = np.where(variance < ROUNDING**2, 0.0, variance)
    one, *others = (NO_NOISE if noise is None else noise for noise in noises[k:])
    return mean, Spread(variance, uncertainty, one, others)


def _p(difference: Values, spread: Spread) -> Values:
    """Two-sided p-values; 0 for a difference without any variance, NaN if there is no difference either."""
    certain = (spread.error == 0) & (np.abs(difference) > ROUNDING)
    return np.where(certain, 0.0, np.where(spread.error == 0, np.nan, spread.tail(difference)))


def ranking_stability(models: Sequence[Scored]) -> float | None:
    """The mean Kendall tau between the ranking on all subjects and the rankings on resamples.

    Resamples draw subjects, and add noise of trainings and calibration.

    Args:
        models: As in `contrasts`.

    Returns:
        The mean tau, -1 to 1; None for a single model, or if tau is undefined.
    """
    if len(models) < 2:
        return None
    scores = np.stack([_centre(model.values) for model in models], axis=1)
    means = resampled_means(scores, subject_resamples(len(scores)))[:1000]
    rng = np.random.default_rng(5)
    for k, parts in enumerate(score_noise(models)):
        for part in parts:
            means[:, k] += np.sqrt(part.variance) * rng.standard_t(part.freedom, len(means))
    whole = np.nanmean(scores, axis=0)
    taus = [stats.kendalltau(whole, row).statistic for row in np.round(means, 12)]
    finite = [tau for tau in taus if np.isfinite(tau)]
    return float(np.mean(finite)) if finite else None


def _centre(scores: Values) -> Values:
    """The mean over trainings: (trainings, subjects) to (subjects,)."""
    return mean_over_seeds(scores[..., None])[:, 0]
