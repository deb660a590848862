"""The bootstrap over subjects and seeds: exact sums, plain loops, and the intervals made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.stats.bootstrap import (
    Interval,
    Noise,
    mean_intervals,
    mean_over_seeds,
    percentiles,
    resampled_means,
    satterthwaite,
    subject_resamples,
    widened,
)

SEEDS = st.integers(0, 10**6)


def scores(seed: int, *shape: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0.6, 0.1, shape) * 10.0 ** rng.integers(-3, 4, shape[-1])
    drawn[rng.random(shape) < missing] = np.nan
    return drawn


@given(SEEDS, st.integers(2, 120))
@settings(max_examples=40, deadline=None)
def test_sums_are_exact_whatever_the_order_of_subjects(seed: int, subjects: int) -> None:
    values, counts = scores(seed, subjects, 3, missing=0.1), subject_resamples(subjects, 100, seed)
    order = np.random.default_rng(seed).permutation(subjects)
    np.testing.assert_array_equal(resampled_means(values, counts), resampled_means(values[order], counts[:, order]))


def test_plain_sums_would_follow_the_order_of_subjects() -> None:
    values, counts = scores(0, 60, 3), subject_resamples(60, 500)
    order = np.random.default_rng(0).permutation(60)
    plain, shuffled = counts @ values / 60, counts[:, order] @ values[order] / 60
    assert (plain != shuffled).mean() > 0.1
    np.testing.assert_array_equal(resampled_means(values, counts), resampled_means(values[order], counts[:, order]))
    loops = [[sum(c * v for c, v in zip(row, column, strict=True)) / 60 for column in values.T] for row in counts[:20]]
    np.testing.assert_allclose(resampled_means(values, counts[:20]), loops, rtol=1e-13)


@given(SEEDS, st.integers(-200, 200))
@settings(max_examples=40, deadline=None)
def test_a_power_of_two_scales_the_means_and_each_column_has_its_own_scale(seed: int, power: int) -> None:
    values, counts = scores(seed, 30, 2, missing=0.1), subject_resamples(30, 50, seed)
    means = resampled_means(values, counts)
    np.testing.assert_array_equal(resampled_means(values * 2.0**power, counts), means * 2.0**power)
    np.testing.assert_array_equal(resampled_means(-values, counts), -means)
    beside = resampled_means(np.column_stack([values, values[:, 0] * 1e9]), counts)
    np.testing.assert_array_equal(beside[:, :2], means)


def test_a_resample_that_knows_nothing_is_nan() -> None:
    values, counts = np.array([[1.0], [np.nan], [np.nan]]), np.array([[0.0, 1, 2], [1, 1, 1], [3, 0, 0]])
    np.testing.assert_array_equal(resampled_means(values, counts)[:, 0], [np.nan, 1.0, 1.0])
    np.testing.assert_array_equal(resampled_means(np.zeros((3, 1)), counts)[:, 0], [0, 0, 0])


def test_seeds_widen_an_interval_as_student_and_satterthwaite_say() -> None:
    rng = np.random.default_rng(4)
    subjects = rng.normal(0, 0.1, 40)
    plain = Interval(0.0, -0.03, 0.03)
    found = widened(plain, subjects, [Noise(0.02**2, 2)])
    parts = np.array([subjects.var(ddof=1) / 40, 0.02**2])
    freedom = parts.sum() ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 2)
    reach = stats.t.ppf(0.975, freedom)
    half = np.sqrt((0.03 * reach / stats.t.ppf(0.975, 39)) ** 2 + (reach * 0.02) ** 2)
    assert (found.low, found.high) == (pytest.approx(-half), pytest.approx(half))
    assert widened(plain, subjects, [Noise(0.0, 2)]) == plain
    assert widened(Interval(0.0, None, None), subjects, [Noise(1.0, 2)]).low is None
    same = np.zeros(40)
    assert widened(Interval(0.0, 0.0, 0.0), same, [Noise(0.0, 2)]) == Interval(0.0, 0.0, 0.0)


def test_intervals_cover_where_training_noise_rules() -> None:
    """Three trainings that differ as much as people do: 300 trials."""
    rng = np.random.default_rng(12)
    covered = []
    for _ in range(300):
        values = rng.normal(0, 0.1, (1, 40)) + rng.normal(0, 0.1, (3, 1))
        trainings = Noise(values.mean(axis=1).var(ddof=1) / 3, 2)
        (found,) = mean_intervals(values.mean(axis=0)[:, None], noise=[trainings])
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(covered) >= 0.9


def test_the_mean_over_seeds_is_over_those_that_know() -> None:
    values = scores(3, 4, 6, 2, missing=0.4)
    values[:, 0, 0] = np.nan
    found = mean_over_seeds(values)
    assert np.isnan(found[0, 0]) and found.shape == (6, 2)
    for person in range(6):
        for column in range(2):
            known = [v for v in values[:, person, column] if not np.isnan(v)]
            expected = sum(known) / len(known) if known else np.nan
            np.testing.assert_allclose(found[person, column], expected)


def test_noise_widens_every_column_and_nothing_else() -> None:
    one = scores(7, 25, 2)
    plain, wide = mean_intervals(one), mean_intervals(one, noise=[Noise(1e4, 2)])
    for column, (before, after) in enumerate(zip(plain, wide, strict=True)):
        assert after == widened(before, one[:, column], [Noise(1e4, 2)])
        assert after.mean == before.mean and after.high - after.low > before.high - before.low
    unknown = np.full((5, 1), np.nan)
    assert mean_intervals(unknown, noise=[Noise(1.0, 2)]) == [Interval(None, None, None)]
    unknown[2, 0] = 0.5
    assert mean_intervals(unknown, noise=[Noise(1.0, 2)]) == [Interval(0.5, None, None)]


@given(SEEDS, st.booleans())
@settings(max_examples=10, deadline=None)
def test_an_interval_is_the_same_in_whatever_order_subjects_stand(seed: int, noisy: bool) -> None:
    values, counts, noise = scores(seed, 15, 2), subject_resamples(15, 300), [Noise(0.01, 2)] * noisy
    order = np.random.default_rng(seed).permutation(15)
    found = mean_intervals(values, counts=counts, noise=noise)
    assert found == mean_intervals(values[order], counts=counts[:, order], noise=noise)
    for interval, column in zip(found, values.T, strict=True):
        assert interval.low <= interval.mean <= interval.high
        assert interval.mean == pytest.approx(column.mean(), rel=1e-12)


def test_variances_add_and_the_least_certain_rules_their_degrees_of_freedom() -> None:
    assert satterthwaite([Noise(2.0, 7)]) == Noise(2.0, pytest.approx(7))
    assert satterthwaite([Noise(1.0, 5), Noise(1.0, 5)]) == Noise(2.0, pytest.approx(10))
    assert satterthwaite([Noise(1e-9, 99), Noise(1.0, 2)]).freedom == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize("subjects", [2, 5, 30])
def test_percentiles_of_a_normal_bootstrap_are_students(subjects: int) -> None:
    """SD (n - 1) / n too small, as a bootstrap's is: the expanded percentiles give back Student's interval."""
    quantiles = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000) * np.sqrt((subjects - 1) / subjects)
    low, high = percentiles(quantiles, subjects)
    expected = stats.t.ppf(0.975, subjects - 1)
    if subjects > 2:  # beyond the 200,000 values at two subjects
        assert (low, high) == (pytest.approx(-expected, rel=0.01), pytest.approx(expected, rel=0.01))
    assert percentiles(np.append(quantiles, np.nan), subjects) == pytest.approx((low, high), abs=1e-6)
    narrower = percentiles(quantiles, subjects, 0.5)
    assert low < narrower[0] < narrower[1] < high


def test_a_column_does_not_know_what_stands_beside_it() -> None:
    values = scores(7, 30, 5, missing=0.0)
    values[3:9, 1], values[:29, 2], values[:, 3] = np.nan, np.nan, np.nan
    assert mean_intervals(values) == [mean_intervals(values[:, [column]])[0] for column in range(5)]


def test_resamples_are_the_same_every_time_and_count_everybody() -> None:
    counts = subject_resamples(17, 200, seed=5)
    assert counts.shape == (200, 17) and (counts.sum(axis=1) == 17).all()
    np.testing.assert_array_equal(counts, subject_resamples(17, 200, seed=5))
    assert not np.array_equal(counts, subject_resamples(17, 200, seed=6))
    assert abs(counts.mean() - 1) < 1e-12 and abs(counts.var() - 16 / 17) < 0.1


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_resampled_means_are_those_of_the_drawn_subjects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, counts = rng.normal(size=(9, 4)), subject_resamples(9, 30, seed).copy()
    values[3:][rng.random((6, 4)) < 0.4] = np.nan
    counts[:, :3] += 1
    expected = [[np.nanmean(np.repeat(column, row.astype(int))) for column in values.T] for row in counts]
    np.testing.assert_allclose(resampled_means(values, counts), expected, rtol=1e-12, atol=1e-13)


def test_intervals_are_near_students_for_normal_scores() -> None:
    values = np.random.default_rng(3).normal(0.6, 0.1, (25, 3))
    for column, interval in zip(values.T, mean_intervals(values), strict=True):
        low, high = stats.t.interval(0.95, 24, column.mean(), stats.sem(column))
        assert interval.mean == pytest.approx(column.mean())
        assert (interval.low, interval.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))
        plain = stats.bootstrap((column,), np.mean, method="percentile", rng=1).confidence_interval
        assert interval.low < plain.low and interval.high > plain.high


def test_what_is_undefined_is_not_available() -> None:
    values = np.array([[np.nan, 1.0, 2.0], [np.nan, np.nan, 2.0], [np.nan, np.nan, 2.0]])
    nothing, single, constant = mean_intervals(values)
    assert (nothing.mean, nothing.low) == (None, None)
    assert (single.mean, single.low) == (1.0, None)
    assert (constant.mean, constant.low, constant.high) == (2.0, 2.0, 2.0)


@pytest.mark.nightly
@pytest.mark.parametrize("subjects", [30, 100])
def test_intervals_cover_the_mean_of_skewed_scores(subjects: int) -> None:
    rng = np.random.default_rng(0)
    found = [mean_intervals(rng.beta(8, 3, (subjects, 1)))[0] for _ in range(1000)]
    assert 0.93 <= np.mean([each.low <= 8 / 11 <= each.high for each in found]) <= 0.97
