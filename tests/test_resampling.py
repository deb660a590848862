"""The bootstrap over subjects and seeds: exact sums, plain loops, and the intervals made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.resampling import (
    Interval,
    crossed_means,
    mean_intervals,
    mean_over_seeds,
    percentiles,
    resampled_means,
    subject_resamples,
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


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_one_seed_is_the_bootstrap_over_subjects(seed: int) -> None:
    values, counts = scores(seed, 20, 3, missing=0.2), subject_resamples(20, 60, seed)
    found = crossed_means(values[None], counts, subject_resamples(1, 60, 1))
    np.testing.assert_array_equal(found, resampled_means(values, counts))
    three = crossed_means(np.repeat(values[None], 3, axis=0), counts, subject_resamples(3, 60, 1))
    np.testing.assert_allclose(three, found, rtol=1e-12, err_msg="seeds that agree add nothing")


@given(SEEDS, st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_several_seeds_are_a_plain_loop_over_drawn_subjects_and_seeds(seed: int, seeds: int) -> None:
    subjects, resamples = 7, 40
    values = scores(seed, seeds, subjects, 2)
    counts, seed_counts = subject_resamples(subjects, resamples, seed), subject_resamples(seeds, resamples, seed + 1)
    found = crossed_means(values, counts, seed_counts)
    for place in range(resamples):
        people = np.repeat(range(subjects), counts[place].astype(int))
        trainings = np.repeat(range(seeds), seed_counts[place].astype(int))
        for column in range(2):
            total = 0.0
            for person in people:
                centre = np.mean([values[s, person, column] for s in range(seeds)])
                for training in trainings:
                    total += centre + np.sqrt(seeds / (seeds - 1)) * (values[training, person, column] - centre)
            assert found[place, column] == pytest.approx(total / (len(people) * len(trainings)), rel=1e-9)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_do_not_understate_their_variance(seeds: int) -> None:
    """Subjects that all move with their training: what is left is the variance of a mean over seeds, unbiased."""
    moved = np.random.default_rng(seeds).normal(size=seeds)
    values = np.tile(moved[:, None, None], (1, 10, 1))
    drawn = crossed_means(values, subject_resamples(10, 50_000), subject_resamples(seeds, 50_000, 1))
    assert drawn.var() == pytest.approx(moved.var(ddof=1) / seeds, rel=0.05)
    assert drawn.mean() == pytest.approx(moved.mean(), abs=0.02)


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


def test_a_subject_that_one_seed_does_not_know_still_counts() -> None:
    values = scores(5, 3, 12, 1)
    values[1, 4, 0] = np.nan
    counts, seed_counts = subject_resamples(12, 30), subject_resamples(3, 30, 1)
    found = crossed_means(values, counts, seed_counts)
    centre = np.nanmean(values, axis=0)
    for place in range(30):
        people = np.repeat(range(12), counts[place].astype(int))
        expected = centre[people, 0].mean()
        for training, times in enumerate(seed_counts[place]):
            off = [np.sqrt(1.5) * (values[training, p, 0] - centre[p, 0]) for p in people]
            expected += times / 3 * np.mean([o for o in off if not np.isnan(o)])
        assert found[place, 0] == pytest.approx(expected, rel=1e-12)


def test_intervals_of_several_seeds() -> None:
    one = scores(7, 25, 2)
    (first, second) = mean_intervals(one)
    assert mean_intervals(one[None]) == [first, second]
    person = np.random.default_rng(8).normal(0.6, 0.1, (1, 25, 1))
    trainings = np.array([-0.1, 0.0, 0.1])[:, None, None]
    (agree,), (differ,) = mean_intervals(person + 0 * trainings), mean_intervals(person + trainings)
    assert differ.mean == pytest.approx(agree.mean)
    assert agree.high - agree.low == pytest.approx(mean_intervals(person[0])[0].high - mean_intervals(person[0])[0].low)
    assert differ.high - differ.low > 1.5 * (agree.high - agree.low)
    unknown = np.full((3, 5, 1), np.nan)
    assert mean_intervals(unknown) == [Interval(None, None, None)]
    unknown[1, 2, 0] = 0.5
    assert mean_intervals(unknown) == [Interval(0.5, None, None)]


@given(SEEDS, st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_an_interval_is_the_same_in_whatever_order_subjects_stand(seed: int, seeds: int) -> None:
    values, counts = scores(seed, seeds, 15, 2), subject_resamples(15, 300)
    order = np.random.default_rng(seed).permutation(15)
    assert mean_intervals(values, counts=counts) == mean_intervals(values[:, order], counts=counts[:, order])
    for interval, column in zip(mean_intervals(values, counts=counts), values.mean(axis=0).T, strict=True):
        assert interval.low <= interval.mean <= interval.high
        assert interval.mean == pytest.approx(column.mean(), rel=1e-12)


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
