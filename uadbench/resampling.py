"""The bootstrap over subjects, and over seeds where a model was trained several times: the same everywhere.

Resamples are fixed, and their sums exact, so that an interval is the same whoever computes it, in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95


@lru_cache(maxsize=2)  # asked for again for every test set
def subject_resamples(subjects: int, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each resample draws each subject, (resamples, subjects); every row sums to `subjects`.

    Read-only. The same arguments give the same resamples, so that all columns and models are resampled together.
    Seeds of training are drawn by the same function, with another `seed`.
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

    Parameters
    ----------
    values : (subjects, columns); NaN is n/a for that subject
    counts : (resamples, subjects)

    Returns (resamples, columns); NaN where a resample holds no known value.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray((counts @ _addable(np.where(known, values, 0.0))) / (counts @ known.astype(np.float64)))


def _addable(values: Values) -> Values:
    """The values rounded, each column to a power of two of its own, so that sums over the rows are exact.

    With 100 rows this moves a value by less than 2e-14 of the column's largest.
    """
    largest = np.abs(values).max(axis=0, initial=0.0)
    exponent = np.frexp(largest)[1] - (52 - int(np.ceil(np.log2(max(2, len(values))))))
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent))


def crossed_means(values: Values, counts: Values, seed_counts: Values) -> Values:
    """As `resampled_means`, of models that were trained with several seeds: subjects and seeds are resampled apart.

    The pigeonhole bootstrap (Owen 2007, Ann Appl Stat 1:386). Few seeds understate their own variance by
    (seeds - 1) / seeds, so their deviations are stretched by the root of its inverse.

    Parameters
    ----------
    values : (seeds, subjects, columns); NaN is n/a
    counts : (resamples, subjects)
    seed_counts : (resamples, seeds)

    Returns (resamples, columns).
    """
    centre = mean_over_seeds(values)
    drawn = resampled_means(centre, counts)
    seeds = len(values)
    if seeds > 1:
        stretch = np.sqrt(seeds / (seeds - 1))
        for weight, one in zip(seed_counts.T / seeds, values, strict=True):
            drawn += weight[:, None] * np.nan_to_num(resampled_means(stretch * (one - centre), counts))
    return drawn


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


def mean_intervals(values: Values, level: float = LEVEL, counts: Values | None = None) -> list[Interval]:
    """The mean of each column with its bootstrap interval over subjects, and over seeds where there are several.

    The expanded percentile interval (Hesterberg 2015, Am Stat 69:371): percentiles moved outward as far as Student's t
    lies outside the normal, because the plain percentile interval is too short for few subjects.

    Parameters
    ----------
    values : (subjects, columns) or (seeds, subjects, columns); NaN is n/a
    counts : resamples to use, so that several tables share them; by default `subject_resamples`
    """
    stacked = values if values.ndim == 3 else values[None]
    counts = subject_resamples(stacked.shape[1]) if counts is None else counts
    seeds = len(stacked)
    seed_counts = subject_resamples(seeds, len(counts), seed=1) if seeds > 1 else np.ones((len(counts), 1))
    drawn = crossed_means(stacked, counts, seed_counts)
    intervals = []
    for column, means in zip(mean_over_seeds(stacked).T, drawn.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known) < 2:
            intervals.append(Interval(float(known[0]) if len(known) else None, None, None))
            continue
        mean = float(_addable(known[:, None]).sum() / len(known))
        intervals.append(Interval(mean, *percentiles(means, len(known), level)))
    return intervals


def percentiles(drawn: Values, subjects: int, level: float = LEVEL) -> tuple[float, float]:
    """The expanded percentile interval of an estimate, given its values in the resamples."""
    tail = _expanded_tail(subjects, level)
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile  # the former is slow
    low, high = quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=64)
def _expanded_tail(n: int, level: float) -> float:
    outward = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    return float(stats.norm.cdf(-outward))
