"""Statistics: against scipy and worked examples, and on simulated scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.stats.bootstrap import mean_intervals, resampled_means, subject_resamples
from uadbench.stats.paired import (
    calibrate,
    compare_paired,
    holm,
    rank_intervals,
    ranking_stability,
    signed_rank_p,
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
    values, counts = rng.normal(size=(9, 4)), subject_resamples(9, 30, seed).copy()
    values[3:][rng.random((6, 4)) < 0.4] = np.nan
    counts[:, :3] += 1
    expected = [[np.nanmean(np.repeat(column, row.astype(int))) for column in values.T] for row in counts]
    np.testing.assert_allclose(resampled_means(values, counts), expected, rtol=1e-12, atol=1e-13)


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
    with pytest.raises(ValueError, match="not of the same subjects"):
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


def alone(row: np.ndarray) -> float:
    """The p of one row by itself; NaN where there is none."""
    moved = row[np.isfinite(row) & (row != 0)]
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else np.nan


@pytest.mark.parametrize("digits", [9, 1, 0])
@pytest.mark.parametrize("subjects", [1, 2, 5, 8, 30, 50, 51, 100])
def test_many_tests_at_once_give_what_each_gives_alone(subjects: int, digits: int):
    """With few ties and zeros, with many, and with none; NaN is left out. SciPy would use one method for all rows."""
    rows = np.round(np.random.default_rng(subjects).standard_normal((20, subjects)) + 0.2, digits)
    rows[3, 0] = rows[4, :] = np.nan
    rows[5, 0] = rows[6, :] = 0.0
    found = signed_rank_p(rows)
    assert found[4] is found[6] is None
    given = np.array(found, dtype=np.float64)  # None becomes NaN
    np.testing.assert_allclose(given, [alone(row) for row in rows], rtol=1e-12)
    np.testing.assert_allclose(np.array(signed_rank_p(-rows), dtype=np.float64), given, rtol=1e-12)


def test_holm_is_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_ranks_and_ties():
    """Two that differ by luck share ranks and group; one that is far off does not."""
    person = RNG.normal(0.6, 0.1, (60, 1))
    scores = person + np.array([0.0, 0.0, -0.3]) + RNG.normal(0, 0.02, (60, 3))
    models = list(scores.T)
    ranks = rank_intervals(models)
    assert {ranks[0], ranks[1]} <= {(1, 2), (1, 1), (2, 2)} and ranks[2] == (3, 3)
    groups = tie_groups(models)
    assert groups[0] == groups[1] == 1 and groups[2] == 2
    stability = ranking_stability(models)
    assert stability is not None and 0.3 < stability <= 1
    assert ranking_stability(models[:1]) is None
    equal = [person[:, 0], person[:, 0]]
    assert rank_intervals(equal) == [(1, 1), (1, 1)] and tie_groups(equal) == [1, 1]


@pytest.mark.nightly
@pytest.mark.parametrize("subjects", [30, 100])
def test_intervals_cover_and_tests_reject_as_often_as_they_say(subjects: int):
    found = calibrate(subjects, trials=1000)
    assert 0.93 <= found.covered <= 0.97
    assert found.rejected <= 0.05
    assert found.rejected_if_pooled > 0.2, "pooling test sets that share subjects must be seen to reject too often"


@pytest.mark.nightly
def test_with_several_trainings_too_and_who_forgets_the_seeds_is_wrong():
    found = calibrate(30, seeds=3, trials=500)
    assert found.seeds == 3
    assert 0.92 <= found.covered <= 0.98
    assert found.rejected <= 0.07
    assert found.rejected_if_seeds_are_ignored > 0.3


def test_places_take_seeds_into_account():
    """Two equal models whose trainings scatter: their means differ for every subject, and yet they are tied."""
    person = RNG.normal(0.6, 0.1, 80)
    first = person + np.array([[0.03], [-0.02], [0.01]])
    second = person + np.array([[-0.03], [0.01], [-0.01]])
    assert tie_groups([first.mean(axis=0), second.mean(axis=0)]) == [1, 2]
    assert tie_groups([first, second]) == [1, 1]
    assert rank_intervals([first.mean(axis=0), second.mean(axis=0)]) == [(1, 1), (2, 2)]
    assert rank_intervals([first, second]) == [(1, 2), (1, 2)]
    assert ranking_stability([first, second]) < 1
    assert tie_groups([first, second - 0.3]) == [1, 2]


def test_a_comparison_of_several_trainings_is_uncertain_where_they_disagree():
    person = RNG.normal(0.05, 0.1, 50)
    other = np.zeros((3, 50))
    agree = compare_paired(np.tile(person, (3, 1)), other)
    moved = np.array([[-0.1], [0.0], [0.1]])
    differ = compare_paired(person + moved, other)
    one = compare_paired(person, other[0])
    assert differ.difference.mean == pytest.approx(agree.difference.mean) == pytest.approx(person.mean())
    width = [found.difference.high - found.difference.low for found in (one, agree, differ)]
    assert width[0] == pytest.approx(width[1]) and width[2] > 1.5 * width[1]
    assert agree.p == differ.p == pytest.approx(stats.wilcoxon(person).pvalue)
    assert differ.p < 0.05 and differ.difference.low < 0 < differ.difference.high


def test_a_comparison_of_several_trainings_is_of_their_means():
    a, b = RNG.normal(0.02, 0.1, (3, 30)), RNG.normal(0, 0.1, (2, 30))
    a[1, 4] = a[:, 9] = np.nan
    kept = np.delete(np.arange(30), 9)
    off = np.array([np.nanmean(a[:, k]) - b[:, k].mean() for k in kept])
    found = compare_paired(a, b)
    assert found.subjects == 29 and found.prefer_a == (off > 0).sum() and found.prefer_b == (off < 0).sum()
    assert found.p == pytest.approx(stats.wilcoxon(off).pvalue)
    assert found.difference.mean == pytest.approx(off.mean())
    assert found.difference.low < off.mean() < found.difference.high
    back = compare_paired(b, a)
    assert back.effect == pytest.approx(-found.effect) and back.difference.mean == pytest.approx(-off.mean())
    for wrong in (np.zeros((2, 29)), np.zeros((1, 2, 30))):
        with pytest.raises(ValueError, match="not of the same subjects"):
            compare_paired(a, wrong)
