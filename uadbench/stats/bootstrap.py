"""Intervals over subjects, and over seeds where a model was trained several times: the same everywhere.

Resamples are fixed, and their sums exact, so that an interval is the same whoever computes it, in whatever order.

Written here because `scipy.stats.bootstrap` takes 12.8 times as long (`benchmarks/README.md`).
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


@lru_cache(maxsize=4)  # asked for again for every test set
def subject_resamples(subjects: int, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each resample draws each subject, (resamples, subjects); every row sums to `subjects`.

    Read-only. The same arguments give the same resamples, so that all columns and models are resampled together.
    """
    drawn = np.random.default_rng(seed).integers(0, subjects, (resamples, subjects))
    offsets = subjects * np.arange(resamples)[:, None]
    counts = np.bincount((drawn + offsets).ravel(), minlength=resamples * subjects)
    frequencies = counts.reshape(resamples, subjects).astype(np.float64)
    frequencies.flags.writeable = False
    return frequencies


def resampled_means(values: Values, counts: Values) -> Values:
    """The mean of every column in every resample: one matrix product.

    Its sums are exact (see `_addable`), so that they are the same in whatever order a machine adds.

    Returns (resamples, columns), column by column in memory; NaN where a resample holds no known value.

    Args:
        values: (subjects, columns); NaN is n/a for that subject.
        counts: (resamples, subjects).
    """
    known = np.isfinite(values)
    means = _addable(np.where(known, values, 0.0)).T @ counts.T
    whole = known.all(axis=0)
    with np.errstate(invalid="ignore"):
        means[whole] /= counts.sum(axis=1)
        means[~whole] /= known.T[~whole].astype(np.float64) @ counts.T
    return np.asarray(means.T)


def _addable(values: Values) -> Values:
    """The values rounded, each column to a power of two of its own, so that sums over the rows are exact.

    With 100 rows this moves a value by less than 2e-14 of the column's largest.
    """
    largest = np.abs(values).max(axis=0, initial=0.0)
    exponent = np.frexp(largest)[1] - (52 - int(np.ceil(np.log2(max(2, len(values))))))
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent))


def mean_over_seeds(values: Values) -> Values:
    """(seeds, subjects, columns) to (subjects, columns): the mean over those seeds that know a value, else NaN."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


@dataclass(frozen=True)
class Interval:
    """A mean, or another estimate, with its confidence interval; None is n/a (as for fewer than two subjects)."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SeedNoise:
    """How far the mean of so many trainings may lie from that of all there could be: a variance, and their number."""

    variance: float
    seeds: int


def seed_noise(values: Values) -> SeedNoise:
    """The variance of a mean over seeds that is due to the seeds.

    `values` is (seeds, subjects), NaN is n/a; a single seed tells nothing of it, which counts as none.
    """
    if len(values) < 2:
        return SeedNoise(0.0, len(values))
    off = values - mean_over_seeds(values[..., None])[:, 0]
    # sorted and in one memory order: in which order subjects stood must not show
    effects = np.nanmean(np.sort(np.ascontiguousarray(off), axis=1), axis=1)
    return SeedNoise(float(effects.var(ddof=1)) / len(values), len(values))


def mean_intervals(values: Values, level: float = LEVEL, counts: Values | None = None) -> list[Interval]:
    """The mean of each column with its interval over subjects, and over seeds where there are several.

    Subjects are resampled: the expanded percentile interval (Hesterberg 2015, Am Stat 69:371), percentiles moved
    outward as far as Student's t lies outside the normal, because the plain percentile interval is too short for few
    subjects. Seeds are too few to be resampled; see `widened`.

    Args:
        values: (subjects, columns) or (seeds, subjects, columns); NaN is n/a.
        counts: Resamples to use, so that several tables share them; by default `subject_resamples`.
    """
    stacked = values if values.ndim == 3 else values[None]
    centre = mean_over_seeds(stacked)
    counts = subject_resamples(len(centre)) if counts is None else counts
    sizes = np.isfinite(centre).sum(axis=0)
    bounds = np.full((2, len(sizes)), np.nan)
    for size in np.unique(sizes[sizes > 1]):
        alike = sizes == size
        bounds[:, alike] = _expanded(resampled_means(centre[:, alike], counts), int(size), level)
    intervals = []
    for place, (column, (low, high)) in enumerate(zip(centre.T, bounds.T, strict=True)):
        known = column[np.isfinite(column)]
        if len(known) < 2:
            intervals.append(Interval(float(known[0]) if len(known) else None, None, None))
            continue
        mean = float(_addable(known[:, None]).sum() / len(known))
        plain = Interval(mean, float(low), float(high))
        noise = [seed_noise(stacked[..., place])] if len(stacked) > 1 else []
        intervals.append(widened(plain, known, noise, level))
    return intervals


def widened(interval: Interval, subjects: Values, noise: Sequence[SeedNoise], level: float = LEVEL) -> Interval:
    """An interval over subjects, widened by what other seeds would have given.

    Each half is stretched to Student's t of the effective degrees of freedom (Satterthwaite 1946, Biometrics 2:110) of
    subjects and seeds together, and the seeds' share is added in quadrature. Resampling three seeds instead cannot
    reach far enough: their mean never leaves the range of the three.

    Args:
        interval: Of a mean over `subjects`, as `mean_intervals` gives it for one seed.
        subjects: (subjects,) the values that the mean is of, without NaN.
        noise: Of each model that enters the mean.
    """
    known = [each for each in noise if each.seeds > 1 and each.variance > 0]
    if not known or interval.mean is None or interval.low is None or interval.high is None:
        return interval
    tail = (1 + level) / 2
    parts = [(float(np.sort(subjects).var(ddof=1)) / len(subjects), len(subjects) - 1)]
    parts += [(each.variance, each.seeds - 1) for each in known]
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    reach = float(stats.t.ppf(tail, freedom))
    stretch = reach / float(stats.t.ppf(tail, len(subjects) - 1))
    added = reach**2 * sum(each.variance for each in known)
    below, above = (
        float(np.hypot(stretch * half, np.sqrt(added)))
        for half in (interval.mean - interval.low, interval.high - interval.mean)
    )
    return Interval(interval.mean, interval.mean - below, interval.mean + above)


def percentiles(drawn: Values, subjects: int, level: float = LEVEL) -> tuple[float, float]:
    """The expanded percentile interval of an estimate, given its values in the resamples."""
    low, high = _expanded(drawn, subjects, level)
    return float(low), float(high)


def _expanded(drawn: Values, subjects: int, level: float) -> Values:
    """Those of (resamples,) or of every column of (resamples, columns): (2,) or (2, columns)."""
    tail = _expanded_tail(subjects, level)
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile  # the former is slow
    return np.asarray(quantile(drawn.T, [tail, 1 - tail], axis=-1))


@lru_cache(maxsize=64)
def _expanded_tail(n: int, level: float) -> float:
    outward = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    return float(stats.norm.cdf(-outward))


def share_interval(share: float, observations: float, level: float = LEVEL) -> Interval:
    """A share with the interval of Clopper and Pearson (1934, Biometrika 26:404); all None for no observation."""
    if observations <= 0:
        return Interval(None, None, None)
    found = share * observations
    tails = (1 - level) / 2, (1 + level) / 2
    low = float(stats.beta.ppf(tails[0], found, observations - found + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(tails[1], found + 1, observations - found)) if share < 1 else 1.0
    return Interval(share, low, high)


def effective_observations(share: float, variance: float, units: int, level: float = LEVEL) -> float:
    """How many independent observations give a share the variance that it has between so many units.

    Korn and Graubard (1998, Survey Methodology 24:193), with their correction for a variance that is itself estimated.
    """
    tail = (1 + level) / 2
    narrower = (stats.norm.ppf(tail) / stats.t.ppf(tail, units - 1)) ** 2
    return float(share * (1 - share) / variance * narrower)
