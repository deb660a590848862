"""Statistics: against scipy and worked examples, and on simulated scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from uadbench.resampling import Interval, mean_intervals, resampled_means, subject_resamples
from uadbench.statistics import (
    auroc_among,
    auroc_between,
    calibrate,
    compare_paired,
    holm,
    rank_correlation,
    rank_intervals,
    ranking_stability,
    share_interval,
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


def test_with_several_trainings_intervals_cover_as_often_as_they_say():
    found = calibrate(30, seeds=3, trials=500)
    assert found.seeds == 3
    assert 0.92 <= found.covered <= 0.98


def drawn_scores(seed: int, subjects: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Healthy and altered scores with ties, also between the two."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, subjects).astype(float), rng.integers(1, 8, (subjects, draws)).astype(float)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 12), st.integers(1, 3))
def test_auroc_among_is_scikit_learns_of_each_altered_scan_and_the_others(seed: int, subjects: int, draws: int):
    healthy, altered = drawn_scores(seed, subjects, draws)
    each = []
    for person in range(subjects):
        others = np.delete(healthy, person)
        for score in altered[person]:
            each.append(roc_auc_score([0] * len(others) + [1], [*others, score]))
    counts = subject_resamples(subjects, 300)
    found = auroc_among(healthy, altered, counts=counts)
    assert found.mean == pytest.approx(np.mean(each), abs=1e-12)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    if draws == 1:
        assert auroc_among(healthy, altered[:, 0], counts=counts) == found
        repeated = auroc_among(healthy, np.repeat(altered, 4, axis=1), counts=counts)
        assert repeated == found, "the same draw four times is one draw"


def test_auroc_among_resamples_subjects_with_both_of_their_scans():
    healthy, altered = drawn_scores(1, 9, 2)
    counts = subject_resamples(9, 200, seed=4)
    drawn = []
    for row in counts:
        people = np.repeat(range(9), row.astype(int))
        pairs = [(i, j) for i in people for j in people if i != j]
        drawn.append(np.mean([(altered[j] > healthy[i]) + 0.5 * (altered[j] == healthy[i]) for i, j in pairs]))
    tail = stats.norm.cdf(-np.sqrt(9 / 8) * stats.t.ppf(0.975, 8))
    found = auroc_among(healthy, altered, counts=counts)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [tail, 1 - tail])))


def test_own_pairs_do_not_count():
    """Somebody whose healthy scan scores above every other's altered one, yet below his own."""
    healthy, altered = np.arange(12.0) * 10, np.arange(12.0) * 10 + 1
    others = [(altered[j] > healthy[i]) for i in range(12) for j in range(12) if i != j]
    assert auroc_among(healthy, altered).mean == pytest.approx(np.mean(others)) == pytest.approx(0.5)
    assert roc_auc_score([0] * 12 + [1] * 12, [*healthy, *altered]) > 0.54


def test_an_auroc_of_a_handful_has_no_interval():
    few = auroc_among(np.array([0.0, 2.0, 4.0, 6.0]), np.array([1.0, 3.0, 5.0, 7.0]))
    assert (few.mean, few.low, few.high) == (0.5, None, None)
    assert auroc_between(np.arange(4.0), np.arange(20.0)).low is None
    assert auroc_between(np.arange(5.0), np.arange(20.0)).low is not None
    assert auroc_among(np.array([1.0]), np.array([2.0])).mean is None


@pytest.mark.parametrize("subjects", [5, 10, 100])
def test_an_auroc_of_one_is_not_certain(subjects: int):
    healthy = RNG.normal(size=subjects)
    perfect = auroc_among(healthy, healthy + 100)
    assert perfect.mean == perfect.high == 1
    assert perfect.low == pytest.approx(stats.binomtest(subjects, subjects).proportion_ci(0.95, "exact").low)
    none = auroc_among(healthy, healthy - 100)
    assert (none.mean, none.low, none.high) == (0, 0, pytest.approx(1 - perfect.low))
    between = auroc_between(healthy, RNG.normal(100, 1, 3 * subjects))
    assert (between.mean, between.low, between.high) == (1, pytest.approx(perfect.low), 1)


def test_an_auroc_needs_two_people():
    nothing = Interval(None, None, None)
    assert auroc_among(np.ones(1), np.zeros((1, 2))) == nothing
    assert auroc_between(np.ones(5), np.zeros(0)) == auroc_between(np.zeros(0), np.ones(5)) == nothing


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 15), st.integers(5, 15))
def test_auroc_between_is_scikit_learns(seed: int, healthy_people: int, ill_people: int):
    rng = np.random.default_rng(seed)
    healthy, ill = rng.integers(0, 6, healthy_people).astype(float), rng.integers(1, 8, ill_people).astype(float)
    found = auroc_between(healthy, ill)
    labels = [0] * healthy_people + [1] * ill_people
    assert found.mean == pytest.approx(roc_auc_score(labels, [*healthy, *ill]), abs=1e-12)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    back = auroc_between(-healthy, -ill)
    assert (back.mean, back.low, back.high) == pytest.approx((1 - found.mean, 1 - found.high, 1 - found.low), abs=1e-9)


def test_intervals_of_an_auroc_cover():
    """300 trials of 30 subjects each, against the AUROC of the two normal distributions."""
    rng, counts = np.random.default_rng(11), subject_resamples(30, 500)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = []
    for _ in range(300):
        healthy = rng.normal(size=30)
        own = 0.8 * healthy[:, None] + 0.6 * rng.normal(size=(30, 2)) + 1  # a person's scans resemble each other
        found = auroc_among(healthy, own, counts=counts)
        covered.append(found.low <= truth <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.99


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.data())
def test_the_interval_of_a_share_is_exact(observations: int, data):
    found = data.draw(st.integers(0, observations))
    interval = share_interval(found / observations, observations)
    expected = stats.binomtest(found, observations).proportion_ci(0.95, "exact")
    assert interval.mean == found / observations
    assert (interval.low, interval.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    wider = share_interval(found / observations, observations, 0.99)
    assert wider.low <= interval.low and wider.high >= interval.high


def test_a_share_of_nothing_is_not_available():
    assert share_interval(0.5, 0) == Interval(None, None, None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 40))
def test_rank_correlation_is_scipys(seed: int, subjects: int):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=subjects + 2), rng.integers(0, 8, subjects + 2).astype(float)
    a[3], b[5] = np.nan, np.nan
    known = np.isfinite(a) & np.isfinite(b)
    found = rank_correlation(a, b)
    assert found.mean == pytest.approx(stats.spearmanr(a[known], b[known]).statistic)
    assert -1 < found.low < found.mean < found.high < 1
    # the middle of the two bounds, and how far they lie apart, after Fisher's transformation
    low, high = np.arctanh([found.low, found.high])
    assert (low + high) / 2 == pytest.approx(np.arctanh(found.mean))
    assert high - low == pytest.approx(2 * 1.959964 * np.sqrt((1 + found.mean**2 / 2) / (subjects - 3)), rel=1e-6)


def test_rank_correlation_covers_the_truth():
    rng, truth = np.random.default_rng(5), 6 / np.pi * np.arcsin(0.6 / 2)
    covered = []
    for _ in range(400):
        a = rng.normal(size=40)
        found = rank_correlation(a, 0.6 * a + 0.8 * rng.normal(size=40))
        covered.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_rank_correlation_of_few_or_of_what_does_not_vary_is_not_available():
    nothing, a = Interval(None, None, None), np.arange(12.0)
    assert rank_correlation(a[:9], a[:9] % 5) == nothing
    assert rank_correlation(np.append(a[:9], np.nan), np.append(a[:9] % 5, 1)) == nothing
    assert rank_correlation(a, np.ones(12)) == rank_correlation(np.ones(12), a) == nothing
    assert rank_correlation(a[:10], a[:10] % 5).mean is not None
    # with the one subject left out that varies, nothing does
    alone = np.append(np.ones(11), 2.0)
    assert rank_correlation(np.append(a[:11], np.nan), alone) == nothing


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
        with pytest.raises(ValueError, match="not those of the same subjects"):
            compare_paired(a, wrong)
