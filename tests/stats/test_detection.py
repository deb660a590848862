"""AUROC, shares and correlations: against scikit-learn and scipy, and how often their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from uadbench.stats.bootstrap import Interval, share_interval, subject_resamples
from uadbench.stats.detection import (
    auroc_among,
    auroc_between,
    cutoff,
    matched_cutoff,
    rank_correlation,
    share_above,
    share_above_others,
)

RNG = np.random.default_rng(3)


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
    found = auroc_among(healthy, altered, counts=counts)
    worth = found.mean * (1 - found.mean) / (np.var(drawn) * 9 / 8)  # observations of a share of that variance
    worth *= (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 8)) ** 2
    expected = share_interval(found.mean, worth)
    assert expected.high < 1 and expected.low < share_interval(1.0, 18).low, "far enough from 1"
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


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
    # two observations a subject: Hanley and McNeil's limit
    assert perfect.low == pytest.approx(stats.binomtest(2 * subjects, 2 * subjects).proportion_ci(0.95, "exact").low)
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


@pytest.mark.parametrize("alike", [0.5, 0.98])
@pytest.mark.parametrize("shift", [0.05, 1.0, 2.5, 4.0])
def test_intervals_of_an_auroc_cover(shift: float, alike: float):
    """300 trials of 60 subjects each, against the AUROC of the two normal distributions: .51, .76, .96 and .998."""
    rng, counts = np.random.default_rng(11), subject_resamples(60, 500)
    truth = stats.norm.cdf(shift / np.sqrt(2))
    covered, widths = [], []
    for _ in range(300):
        healthy = rng.normal(size=60)
        own = alike * healthy[:, None] + np.sqrt(1 - alike**2) * rng.normal(size=(60, 2)) + shift
        found = auroc_among(healthy, own, counts=counts)
        covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    assert np.mean(covered) >= 0.91
    if (shift, alike) == (0.05, 0.98):
        assert np.mean(widths) < 0.06, "where a person's two scans are alike, so are the groups"


def test_one_misordered_pair_is_no_surer_than_none():
    healthy = np.arange(50.0)
    perfect, nearly = auroc_among(healthy, healthy + 100), healthy + 100
    nearly[0] = 48.5
    found = auroc_among(healthy, nearly)
    assert found.mean < perfect.mean and found.low <= perfect.low


@pytest.mark.nightly
@pytest.mark.parametrize(("others", "subjects", "true"), [(64, 100, 0.5), (64, 100, 0.9), (34, 30, 0.5), (34, 30, 0.8)])
def test_the_share_above_a_threshold_knows_that_the_threshold_is_uncertain(others: int, subjects: int, true: float):
    """The sensitivity at 95 % specificity of normal scores; given the threshold alone, 60 % would be covered."""
    rng, place = np.random.default_rng(6), int(np.ceil(0.95 * (others + 1)))
    shift = stats.norm.ppf(0.95) - stats.norm.ppf(1 - true)
    covered, too_high = [], []
    for _ in range(200):
        limit = cutoff(rng.normal(size=others), place)
        found = share_above(rng.normal(shift, 1, subjects), limit)
        covered.append(found.low <= true <= found.high)
        too_high.append(found.low > true)
    assert np.mean(covered) >= 0.9 and np.mean(too_high) <= 0.06


def test_a_cutoff_is_an_order_statistic_of_the_scores_and_of_each_resample():
    scores = np.random.default_rng(3).permutation(40).astype(float)
    limit = cutoff(scores, 38)
    assert limit.value == 37
    counts = subject_resamples(40, seed=4)
    for place in range(50):
        assert limit.drawn[place] == np.sort(np.repeat(np.arange(40.0), counts[place].astype(int)))[37]
    sure = share_above(np.full(20, 99.0), limit)
    assert (sure.mean, sure.high) == (1, 1)
    assert sure.low == pytest.approx(stats.binomtest(20, 20).proportion_ci(0.95, "exact").low)
    draws = share_above(np.tile([[0.0, 99.0]], (20, 1)), limit)
    assert draws.mean == 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 60), st.integers(1, 3), st.sampled_from([0.5, 0.8, 0.95]))
def test_each_matched_threshold_is_set_on_the_others(seed: int, subjects: int, draws: int, specificity: float):
    healthy, altered = drawn_scores(seed, subjects, draws)
    rank = int(np.ceil(specificity * subjects - 1e-9))
    above = [np.mean(altered[i] > np.sort(np.delete(healthy, i))[rank - 1]) for i in range(subjects)]
    found = share_above_others(healthy, altered, specificity)
    assert found.mean == pytest.approx(np.mean(above), abs=1e-12)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    distinct = np.random.default_rng(seed).permutation(subjects).astype(float)
    assert share_above_others(distinct, distinct, specificity).mean == pytest.approx(1 - rank / subjects)


def test_too_few_subjects_have_no_matched_sensitivity():
    scores = np.arange(19.0)
    assert share_above_others(scores, scores + 9, 0.95) == Interval(None, None, None)
    assert share_above_others(np.arange(20.0), np.arange(20.0) + 9, 0.95).mean is not None
    assert matched_cutoff(np.arange(18.0), 0.95) is None and matched_cutoff(scores, 0.95).value == 18
    assert matched_cutoff(RNG.permutation(100).astype(float), 0.95).value == 95


@pytest.mark.nightly
@pytest.mark.parametrize("true", [0.5, 0.9])
@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_interval_of_the_matched_sensitivity_covers(true: float, alike: float):
    """A person's two scans may be alike; the truth is the sensitivity at the population's threshold."""
    rng, shift = np.random.default_rng(7), stats.norm.ppf(0.95) - stats.norm.ppf(1 - true)
    covered = []
    for _ in range(200):
        person, own = rng.normal(size=100), rng.normal(size=(2, 100))
        healthy, altered = np.sqrt(alike) * person + np.sqrt(1 - alike) * own
        found = share_above_others(healthy, altered + shift, 0.95)
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) >= 0.9


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
