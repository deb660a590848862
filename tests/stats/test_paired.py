"""The decision rule: against scipy, brute force and properties."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.stats.paired import Contrasts, contrasts, holm, ranking_stability, significant
from uadbench.stats.trainings import Scored, calibration_noise, training_noise

SEEDS = st.integers(0, 10**6)


def drawn(seed: int, models: int = 4, trainings: int = 3, subjects: int = 20, gain: float = 0.03) -> list[Scored]:
    rng = np.random.default_rng(seed)
    person = rng.normal(0.5, 0.1, subjects)
    return [
        Scored(person + gain * k + rng.normal(0, 0.05, subjects) + rng.normal(0, 0.02, (trainings, 1)))
        for k in range(models)
    ]


def shifted(models: list[Scored], by: float) -> list[Scored]:
    return [Scored(model.values + by, model.trained, model.calibration) for model in models]


@pytest.mark.parametrize("subjects", [3, 8, 100])
def test_two_models_trained_once_meet_in_a_paired_t_test(subjects: int) -> None:
    one, other = drawn(subjects, models=2, trainings=1, subjects=subjects)
    expected = stats.ttest_rel(one.values[0], other.values[0])
    found = contrasts([one, other])
    interval = found.comparison(0, 1).difference
    assert found.raw == pytest.approx([expected.pvalue], rel=1e-9)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.conditional and found.comparison(0, 1).conditional
    fixed = contrasts([Scored(one.values, trained=False), Scored(other.values, trained=False)])
    assert not fixed.conditional and fixed.raw == pytest.approx(found.raw)


def test_holm_is_the_worked_example() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(holm(np.array([0.5, np.nan, 0.6])), [1.0, np.nan, 1.0])
    assert holm(np.array([])).size == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """A hypothesis is rejected where Bonferroni rejects every set of hypotheses that contains it."""
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(range(len(p_values)), size)]
    expected = [
        max(min(1.0, len(chosen) * min(p_values[j] for j in chosen)) for chosen in sets if k in chosen)
        for k in range(len(p_values))
    ]
    assert holm(np.array(p_values)) == pytest.approx(expected)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_what_all_models_share_changes_nothing(seed: int) -> None:
    models = drawn(seed)
    found, moved = contrasts(models), contrasts(shifted(models, 0.25))
    assert moved.raw == pytest.approx(found.raw, rel=1e-6)
    assert moved.rank_sets() == found.rank_sets()
    person = np.random.default_rng(seed).normal(0, 1, 20)
    easier = contrasts([Scored(model.values + person) for model in models])
    assert easier.raw == pytest.approx(found.raw, rel=1e-6), "an easy participant is easy for all models"


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_worse_scores_turn_the_ranks_around(seed: int) -> None:
    models = drawn(seed)
    found, turned = contrasts(models), contrasts([Scored(-model.values) for model in models])
    assert turned.raw == pytest.approx(found.raw, rel=1e-9)
    assert turned.rank_sets() == [(5 - high, 5 - low) for low, high in found.rank_sets()]


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.permutations(range(4)))
def test_the_order_of_models_and_subjects_does_not_matter(seed: int, order: list[int]) -> None:
    models = drawn(seed)
    people = np.random.default_rng(seed).permutation(20)
    found, other = contrasts(models), contrasts([Scored(models[k].values[:, people]) for k in order])
    assert [other.rank_sets()[order.index(k)] for k in range(4)] == found.rank_sets()
    for i, j in permutations(range(4), 2):
        assert other.p_of(order.index(i), order.index(j)) == pytest.approx(found.p_of(i, j), rel=1e-6)


def test_a_pair_reversed_is_the_same_pair() -> None:
    found = contrasts(drawn(3))
    one, back = found.comparison(0, 2), found.comparison(2, 0)
    assert found.p_of(0, 2) == found.p_of(2, 0)
    assert back.difference.mean == -(one.difference.mean or 0) and back.difference.low == -(one.difference.high or 0)
    assert (back.effect, back.prefer_a, back.error) == (-(one.effect or 0), one.prefer_b, one.error)
    assert back.reversed == one


def test_every_pair_has_its_own_place() -> None:
    models = drawn(1, models=6)
    found = contrasts(models)
    pairs = list(combinations(range(6), 2))
    assert [found.pair(i, j) for i, j in pairs] == list(range(len(pairs)))
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == pairs
    for i, j in pairs:
        off = models[i].values.mean(axis=0) - models[j].values.mean(axis=0)
        assert found.difference[found.pair(i, j)] == pytest.approx(off.mean())


def test_the_standard_error_adds_its_three_sources() -> None:
    rng = np.random.default_rng(8)
    first, second = drawn(8, models=2)
    replicates = [rng.normal(0.5, 0.01, (3, 10)) for _ in range(2)]
    models = [Scored(m.values, True, c) for m, c in zip((first, second), replicates, strict=True)]
    off = first.values.mean(axis=0) - second.values.mean(axis=0)
    jackknife = replicates[0].mean(axis=0) - replicates[1].mean(axis=0)
    variances = [m.values.mean(axis=1).var(ddof=1) / 3 for m in (first, second)]
    expected = off.var(ddof=1) / 20 + sum(variances) + 0.9 * ((jackknife - jackknife.mean()) ** 2).sum()
    found = contrasts(models)
    assert found.comparison(0, 1).error == pytest.approx(np.sqrt(expected))
    assert found.raw > contrasts([first, second]).raw


def test_calibration_that_moves_both_models_alike_is_no_difference() -> None:
    first, second = drawn(8, models=2)
    shared = np.random.default_rng(0).normal(0.5, 0.05, (1, 10))
    both = [Scored(first.values, True, shared), Scored(second.values, True, shared + 0.1)]
    assert contrasts(both).raw == pytest.approx(contrasts([first, second]).raw, rel=1e-6)
    one = [Scored(first.values, True, shared), second]
    expected = contrasts([first, second]).comparison(0, 1).error ** 2 + calibration_noise(shared[0]).variance
    assert contrasts(one).comparison(0, 1).error == pytest.approx(np.sqrt(expected))
    with pytest.raises(ValueError, match=r"\[9, 10\]"):
        contrasts([Scored(first.values, True, shared), Scored(second.values, True, shared[:, :9])])


def test_models_without_a_difference_are_not_compared() -> None:
    same = np.random.default_rng(0).normal(0.5, 0.1, (1, 6))
    found = contrasts([Scored(same), Scored(same.copy())])
    assert found.p_of(0, 1) is None and found.rank_sets() == [(1, 2), (1, 2)]
    assert (found.comparison(0, 1).effect, found.comparison(0, 1).difference.mean) == (None, 0.0)
    one = contrasts([Scored(same[:, :1]), Scored(same[:, :1] + 1)])
    assert one.p_of(0, 1) is None and one.comparison(0, 1).difference.low is None
    constant = contrasts([Scored(same), Scored(same + 0.125)])
    assert constant.p_of(0, 1) == 0 and constant.rank_sets() == [(2, 2), (1, 1)]
    assert not significant(None) and significant(0.049) and not significant(0.051)
    assert contrasts([Scored(same)]).rank_sets() == [(1, 1)]


def test_somebody_without_a_score_is_left_out_of_a_pair() -> None:
    first, second, third = drawn(5, models=3, trainings=1)
    first.values[0, 3] = np.nan
    found = contrasts([first, second, third])
    kept = np.delete(np.arange(20), 3)
    expected = stats.ttest_rel(first.values[0, kept], second.values[0, kept]).pvalue
    assert found.raw[found.pair(0, 1)] == pytest.approx(expected)
    assert found.raw[found.pair(1, 2)] == pytest.approx(stats.ttest_rel(second.values[0], third.values[0]).pvalue)
    assert [found.comparison(0, 1).subjects, found.comparison(1, 2).subjects] == [19, 20]
    for wrong in (np.zeros((2, 19)), np.zeros((1, 2, 20))):
        with pytest.raises(ValueError, match="not of the same subjects"):
            contrasts([first, Scored(wrong)])


def test_the_effect_is_the_rank_biserial_correlation() -> None:
    first, second = drawn(6, models=2, trainings=1)
    off = (first.values - second.values)[0]
    ranks = stats.rankdata(np.abs(off))
    found = contrasts([first, second]).comparison(0, 1)
    assert found.effect == pytest.approx(float((ranks * np.sign(off)).sum() / ranks.sum()))
    assert (found.prefer_a, found.prefer_b) == ((off > 0).sum(), (off < 0).sum())
    assert found.subject_sd == pytest.approx(off.std(ddof=1))


def rank_sets_by_brute_force(found: Contrasts) -> list[tuple[int, int]]:
    """All orders of the models, with ties, that no significant difference contradicts."""
    count = len(found.centres)
    allowed: list[list[int]] = []
    for levels in np.ndindex(*(count,) * count):
        decided = [(i, j) for i, j in combinations(range(count), 2) if significant(found.p_of(i, j))]
        if all((levels[i] - levels[j]) * found.difference[found.pair(i, j)] > 0 for i, j in decided):
            allowed.append(list(levels))
    better = np.array([[sum(other > own for other in levels) for own in levels] for levels in allowed])
    worse = np.array([[sum(other < own for other in levels) for own in levels] for levels in allowed])
    return list(zip((1 + better.min(axis=0)).tolist(), (count - worse.min(axis=0)).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("gain", [0.01, 0.05])
def test_rank_sets_hold_what_no_test_contradicts(seed: int, gain: float) -> None:
    found = contrasts(drawn(seed, models=5, gain=gain, trainings=1))
    assert found.rank_sets() == rank_sets_by_brute_force(found)


def test_bad_models_widen_a_rank_set_by_their_number_of_tests_alone() -> None:
    """Twenty equally bad ones: the p-values of the others stay, and Holm counts the tests that are left open."""
    rng = np.random.default_rng(11)
    models = [Scored(each.values, trained=False) for each in drawn(11, models=5, trainings=1, subjects=100, gain=0.02)]
    person = models[0].values
    bad = [Scored(person - 0.4 + rng.normal(0, 0.05, (1, 100)), trained=False) for _ in range(20)]
    alone, beside = contrasts(models), contrasts([*models, *bad])
    old = [beside.pair(i, j) for i, j in combinations(range(5), 2)]
    assert beside.raw[old] == pytest.approx(alone.raw, rel=1e-12)
    rejected_first = [k for k in range(len(beside.raw)) if beside.raw[k] < alone.raw.min()]
    assert len(rejected_first) >= 5 * 20, "bad models differ from the others"
    multiplier = len(beside.raw) - len(rejected_first)
    assert (beside.p[old] <= np.minimum(1.0, multiplier * alone.raw) + 1e-12).all()
    decided = np.minimum(1.0, multiplier * alone.raw) < 0.05
    for k, (low, high) in enumerate(beside.rank_sets()[:5]):
        better = [p for p in range(10) if decided[p] and _loses(alone, p, k)]
        worse = [p for p in range(10) if decided[p] and _loses(alone, p, k, wins=True)]
        assert low >= 1 + len(better) and high <= 5 - len(worse)


def _loses(found: Contrasts, pair: int, model: int, wins: bool = False) -> bool:
    better, worse = (found.first, found.second) if found.difference[pair] > 0 else (found.second, found.first)
    return bool((better if wins else worse)[pair] == model)


def test_bad_models_that_vary_alike_leave_the_shared_variance_of_trainings() -> None:
    models = drawn(2, models=6, subjects=100)
    bad = [Scored(model.values - 0.3) for model in models]
    alone, beside = training_noise(models), training_noise([*models, *bad])
    for noise, other in zip(alone, beside, strict=False):
        assert other.variance == pytest.approx(noise.variance, rel=0.5) and other.freedom >= noise.freedom - 1e-9


def test_trainings_that_scatter_are_no_difference() -> None:
    """Two equal models whose trainings scatter: their means differ for every subject."""
    person = np.random.default_rng(3).normal(0.6, 0.1, 80)
    first = person + np.array([[0.03], [-0.02], [0.01]]) + np.linspace(0, 0.001, 80)
    second = person + np.array([[-0.03], [0.01], [-0.01]])
    assert contrasts([Scored(first), Scored(second)]).rank_sets() == [(1, 2), (1, 2)]
    blind = [Scored(each.mean(axis=0, keepdims=True), trained=False) for each in (first, second)]
    assert contrasts(blind).rank_sets() == [(1, 1), (2, 2)]
    assert contrasts([Scored(first), Scored(second - 0.5)]).rank_sets() == [(1, 1), (2, 2)]


def test_resampled_rankings_agree_where_models_differ() -> None:
    apart = ranking_stability(drawn(1, gain=0.5))
    close = ranking_stability(drawn(1, gain=0.0))
    assert apart == pytest.approx(1.0) and close is not None and close < 0.9
    assert ranking_stability(drawn(1)[:1]) is None
