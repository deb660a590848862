"""Bootstrap confidence intervals over subjects, widened by further noise such as that of trainings.

Resamples are fixed and sums are exact, so that an interval is identical on every machine and in any order of
computation.

`scipy.stats.bootstrap` is not used because it takes 12.8 times as long (`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from uadbench.types import Values

RESAMPLES = 10_000
LEVEL = 0.95


@lru_cache(maxsize=4)  # reused for every test set
def subject_resamples(subjects: int, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each bootstrap resample draws each subject.

    The same arguments give the same resamples, so that all columns and models are resampled together.

    Args:
        subjects: The number of subjects.
        resamples: The number of resamples.
        seed: The seed of the random numbers.

    Returns:
        (resamples, subjects) counts, read-only; each row sums to `subjects`.
    """
    drawn = np.random.default_rng(seed).integers(0, subjects, (resamples, subjects))
    offsets = subjects * np.arange(resamples)[:, None]
    counts = np.bincount((drawn + offsets).ravel(), minlength=resamples * subjects)
    frequencies = counts.reshape(resamples, subjects).astype(np.float64)
    frequencies.flags.writeable = False
    return frequencies


def resampled_means(values: Values, counts: Values) -> Values:
    """The mean of each column in each resample, by a matrix product.

    The sums are exact (see `_addable`), so that they do not depend on the order of summation.

    Args:
        values: (subjects, columns) values; NaN if n/a for a subject.
        counts: (resamples, subjects) counts, from `subject_resamples`.

    Returns:
        (resamples, columns) means in Fortran order; NaN if all values of a resample are n/a.
    """
    finite = np.isfinite(values)
    means = _addable(np.where(finite, values, 0.0)).T @ counts.T
    whole = finite.all(axis=0)
    with np.errstate(invalid="ignore"):
        means[whole] /= counts.sum(axis=1)
        means[~whole] /= finite.T[~whole].astype(np.float64) @ counts.T
    return np.asarray(means.T)


def _addable(values: Values) -> Values:
    """The values, each column rounded to a multiple of a power of two, so that sums over the rows are exact.

    With 100 rows this changes a value by less than 2e-14 of the column's largest value.
    """
    largest = np.abs(values).max(axis=0, initial=0.0)
    exponent = np.frexp(largest)[1] - (52 - int(np.ceil(np.log2(max(2, len(values))))))
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent))


def mean_over_seeds(values: Values) -> Values:
    """The mean over seeds, ignoring NaN.

    Args:
        values: (seeds, subjects, columns) values; NaN if n/a.

    Returns:
        (subjects, columns) means; NaN if a value is n/a for all seeds.
    """
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(finite, values, 0.0).sum(axis=0) / finite.sum(axis=0))


@dataclass(frozen=True)
class Interval:
    """A mean or another estimate with its confidence interval.

    Attributes:
        mean: The estimate; None if n/a.
        low: The lower bound; None if n/a, for example for fewer than two subjects.
        high: The upper bound; None if n/a.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Noise:
    """A variance that adds to the one between subjects, such as that of a few trainings.

    Attributes:
        variance: The variance.
        freedom: The degrees of freedom of its estimate.
    """

    variance: float
    freedom: float


def satterthwaite(parts: Sequence[Noise]) -> Noise:
    """The sum of independent variances, with the effective degrees of freedom (Satterthwaite 1946, Biometrics 2:110).

    Args:
        parts: The variances; at least one is positive.

    Returns:
        The sum with its degrees of freedom.
    """
    total = sum(part.variance for part in parts)
    return Noise(total, total**2 / sum(part.variance**2 / part.freedom for part in parts))


def mean_intervals(
    values: Values, level: float = LEVEL, counts: Values | None = None, noise: Sequence[Noise] = ()
) -> list[Interval]:
    """The mean of each column with its interval over subjects, and over other sources of noise if there are any.

    Subjects are resampled, with the expanded percentile interval (Hesterberg 2015, Am Stat 69:371): the percentiles are
    moved outward by the ratio of Student's t to the normal quantile, because the plain percentile interval is too
    narrow for few subjects. Trainings are too few for resampling; see `widened`.

    Args:
        values: (subjects, columns) values; NaN if n/a.
        level: The confidence level.
        counts: (resamples, subjects) resamples to use, so that several tables share them; by default those of
            `subject_resamples`.
        noise: Further variances of the mean of every column, such as that of trainings.

    Returns:
        The interval of each column.
    """
    counts = subject_resamples(len(values)) if counts is None else counts
    sizes = np.isfinite(values).sum(axis=0)
    bounds = np.full((2, len(sizes)), np.nan)
    for size in np.unique(sizes[sizes > 1]):
        alike = sizes == size
        bounds[:, alike] = _expanded(resampled_means(values[:, alike], counts), int(size), level)
    intervals = []
    for column, (low, high) in zip(values.T, bounds.T, strict=True):
        finite = column[np.isfinite(column)]
        if len(finite) < 2:
            intervals.append(Interval(float(finite[0]) if len(finite) else None, None, None))
            continue
        mean = float(_addable(finite[:, None]).sum() / len(finite))
        intervals.append(widened(Interval(mean, float(low), float(high)), finite, noise, level))
    return intervals


def widened(interval: Interval, subjects: Values, noise: Sequence[Noise], level: float = LEVEL) -> Interval:
    """Widen an interval over subjects by further variances, such as that of trainings.

    Each half is scaled to Student's t with the effective degrees of freedom of all variances, and the further ones are
    added in quadrature. Resampling, for example, three trainings would give too narrow an interval, because the mean of
    a resample never leaves the range of the three.

    Args:
        interval: The interval of a mean over subjects.
        subjects: (subjects,) the values that are averaged, without NaN.
        noise: The further variances of the mean.
        level: The confidence level.

    Returns:
        The widened interval; the same interval if no further variance is positive.
    """
    positive = [each for each in noise if each.variance > 0]
    if not positive or interval.mean is None or interval.low is None or interval.high is None:
        return interval
    tail, freedom = (1 + level) / 2, len(subjects) - 1
    whole = satterthwaite([Noise(float(np.sort(subjects).var(ddof=1)) / len(subjects), freedom), *positive])
    reach = float(stats.t.ppf(tail, whole.freedom))
    stretch = reach / float(stats.t.ppf(tail, freedom))
    added = reach**2 * sum(each.variance for each in positive)
    below, above = (
        float(np.hypot(stretch * half, np.sqrt(added)))
        for half in (interval.mean - interval.low, interval.high - interval.mean)
    )
    return Interval(interval.mean, interval.mean - below, interval.mean + above)


def percentiles(drawn: Values, subjects: int, level: float = LEVEL) -> tuple[float, float]:
    """The expanded percentile interval of an estimate.

    Args:
        drawn: (resamples,) the estimate in each resample; NaN is ignored.
        subjects: The number of subjects.
        level: The confidence level.

    Returns:
        The lower and the upper bound.
    """
    low, high = _expanded(drawn, subjects, level)
    return float(low), float(high)


def _expanded(drawn: Values, subjects: int, level: float) -> Values:
    """The bounds for (resamples,) or for each column of (resamples, columns): (2,) or (2, columns)."""
    tail = _expanded_tail(subjects, level)
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile  # nanquantile is slow
    return np.asarray(quantile(drawn.T, [tail, 1 - tail], axis=-1))


@lru_cache(maxsize=64)
def _expanded_tail(n: int, level: float) -> float:
    outward = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    return float(stats.norm.cdf(-outward))


def share_interval(share: float, observations: float, level: float = LEVEL) -> Interval:
    """A proportion with the interval of Clopper and Pearson (1934, Biometrika 26:404).

    Args:
        share: The proportion, 0 to 1.
        observations: The number of observations, which need not be an integer.
        level: The confidence level.

    Returns:
        The proportion with its interval; all values are None without observations.
    """
    if observations <= 0:
        return Interval(None, None, None)
    successes = share * observations
    tails = (1 - level) / 2, (1 + level) / 2
    low = float(stats.beta.ppf(tails[0], successes, observations - successes + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(tails[1], successes + 1, observations - successes)) if share < 1 else 1.0
    return Interval(share, low, high)


def effective_observations(share: float, variance: float, units: int, level: float = LEVEL) -> float:
    """The number of independent observations that would give a proportion the same variance.

    From Korn and Graubard (1998, Survey Methodology 24:193), with their correction for an estimated variance.

    Args:
        share: The proportion, 0 to 1.
        variance: Its variance, estimated from `units`.
        units: The number of units, such as subjects.
        level: The confidence level.

    Returns:
        The effective number of observations.
    """
    tail = (1 + level) / 2
    narrower = (stats.norm.ppf(tail) / stats.t.ppf(tail, units - 1)) ** 2
    return float(share * (1 - share) / variance * narrower)
