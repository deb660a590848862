"""Statistics: against scipy and worked examples, and on simulated scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.resampling import mean_intervals, resampled_means, subject_resamples
from uadbench.statistics import (
    calibrate,
    compare_paired,
    holm,
    rank_intervals,
    ranking_stability,
    tie_groups,
)

RNG = np.random.default_rng(3)


def test_resamples_are_the_same_every_time_and_count_everybody():
    counts = subject_resamples(17, 200, seed=5)
    assert counts.shape == (200, 17) and (counts.sum(axis=1) == 17).all()
    np.testing.assert_array_equal(counts, subject_resamples(17, 200, seed=5))
    assert not np.array_equal(counts, subject_resamples(17, 200, seed=6))
    assert abs(counts.mean() - 1) < 1e-12 and abs(counts.var() - 16 / 17) < 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_resampled_means_are_those_of_the_drawn_subjects(seed: int):
    rng = np.random.default_rng(seed)
    values, counts = rng.normal(size=(9, 4)), subject_resamples(9, 30, seed)
    values[3:][rng.random((6, 4)) < 0.4] = np.nan
    counts[:, :3] += 1
    expected = [[np.nanmean(np.repeat(column, row.astype(int))) for column in values.T] for row in counts]
    np.testing.assert_allclose(resampled_means(values, counts), expected, rtol=1e-12)


def test_intervals_are_near_students_for_normal_scores():
    values = RNG.normal(0.6, 0.1, (25, 3))
    for column, interval in zip(values.T, mean_intervals(values), strict=True):
        low, high = stats.t.interval(0.95, 24, column.mean(), stats.sem(column))
        assert interval.mean == pytest.approx(column.mean())
        assert (interval.low, interval.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))
        plain = stats.bootstrap((column,), np.mean, method="percentile", rng=1).confidence_interval
        assert interval.low < plain.low and interval.high > plain.high


def test_what_is_undefined_is_not_available():
    values = np.array([[np.nan, 1.0, 2.0], [np.nan, np.nan, 2.0], [np.nan, np.nan, 2.0]])
    nothing, single, constant = mean_intervals(values)
    assert (nothing.mean, nothing.low) == (None, None)
    assert (single.mean, single.low) == (1.0, None)
    assert (constant.mean, constant.low, constant.high) == (2.0, 2.0, 2.0)
    same = compare_paired(np.ones(5), np.ones(5))
    assert (same.p, same.effect, same.prefer_a, same.prefer_b) == (None, None, 0, 0)
    with pytest.raises(ValueError, match="not those of the same subjects"):
        compare_paired(np.ones(5), np.ones(4))


def test_a_paired_comparison_is_wilcoxons():
    a = RNG.normal(0.1, 0.2, 40)
    b = np.zeros(40)
    a[0] = np.nan
    found = compare_paired(a, b)
    assert found.p == pytest.approx(stats.wilcoxon(a[1:]).pvalue)
    assert found.subjects == 39 and found.prefer_a + found.prefer_b == 39
    ranks = stats.rankdata(np.abs(a[1:]))
    assert found.effect == pytest.approx(float((ranks * np.sign(a[1:])).sum() / ranks.sum()))
    back = compare_paired(b, a)
    assert back.effect == pytest.approx(-found.effect) and back.p == pytest.approx(found.p)
    assert compare_paired(np.arange(1.0, 9), np.zeros(8)).effect == 1


def test_holm_is_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_ranks_and_ties():
    """Two that differ by luck share ranks and group; one that is far off does not."""
    person = RNG.normal(0.6, 0.1, (60, 1))
    scores = person + np.array([0.0, 0.0, -0.3]) + RNG.normal(0, 0.02, (60, 3))
    ranks = rank_intervals(scores)
    assert {ranks[0], ranks[1]} <= {(1, 2), (1, 1), (2, 2)} and ranks[2] == (3, 3)
    groups = tie_groups(scores)
    assert groups[0] == groups[1] == 1 and groups[2] == 2
    stability = ranking_stability(scores)
    assert stability is not None and 0.3 < stability <= 1
    assert ranking_stability(scores[:, :1]) is None
    equal = np.repeat(person, 2, axis=1)
    assert rank_intervals(equal) == [(1, 1), (1, 1)] and tie_groups(equal) == [1, 1]


@pytest.mark.parametrize("subjects", [30, 100])
def test_intervals_cover_and_tests_reject_as_often_as_they_say(subjects: int):
    found = calibrate(subjects, trials=1000)
    assert 0.93 <= found.covered <= 0.97
    assert found.rejected <= 0.05
    assert found.rejected_if_pooled > 0.2, "pooling test sets that share subjects must be seen to reject too often"
