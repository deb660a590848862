"""Tests of shares against age and sex: SciPy and a full enumeration are the oracles."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from uadbench.stats.trend import difference_p, trend_p


def test_the_trend_test_approximates_its_exact_distribution() -> None:
    ages = np.array([55.0, 61, 61, 64, 70, 72, 75, 79, 83, 88, 90])
    for alarms in ([0, 1, 2], [1, 4, 9], [8, 9, 10], [3, 10]):
        events = np.isin(np.arange(len(ages)), alarms)
        sums = np.array(
            [ages[list(drawn)].sum() - len(alarms) * ages.mean() for drawn in combinations(range(11), len(alarms))]
        )
        off = abs(ages[events].sum() - len(alarms) * ages.mean())
        exact = (np.abs(sums) >= off - 1e-9).mean()
        assert trend_p(events, ages) == pytest.approx(exact, abs=0.015)


def test_the_trend_test_holds_its_level_and_has_power() -> None:
    rng = np.random.default_rng(0)
    ages = np.floor(rng.normal(73, 7, 300))
    none = [trend_p(rng.random(300) < 0.05, ages) for _ in range(200)]
    assert np.mean([p is not None and p < 0.05 for p in none]) < 0.09
    rising = 1 / (1 + np.exp(-(ages - 88) / 6))
    found = [trend_p(rng.random(300) < rising, ages) for _ in range(40)]
    assert np.mean([p is not None and p < 0.05 for p in found]) > 0.8


def test_the_order_of_people_does_not_matter_and_unknown_ages_are_left_out() -> None:
    rng = np.random.default_rng(1)
    ages, events = np.floor(rng.normal(73, 7, 80)), rng.random(80) < 0.1
    order = rng.permutation(80)
    assert trend_p(events[order], ages[order]) == trend_p(events, ages)
    assert trend_p(np.append(events, True), np.append(ages, np.nan)) == trend_p(events, ages)


@pytest.mark.parametrize("events", [np.zeros(9, dtype=bool), np.ones(9, dtype=bool)])
def test_no_p_value_without_a_difference_to_explain(events: np.ndarray) -> None:
    assert trend_p(events, np.arange(9.0)) is None
    assert trend_p(np.arange(9) < 4, np.full(9, 70.0)) is None
    assert difference_p(events[:4], events[4:]) is None
    assert difference_p(events[:0], np.arange(9) < 4) is None


def test_the_difference_test_is_scipy_s() -> None:
    first, second = np.arange(40) < 6, np.arange(55) < 1
    expected = stats.fisher_exact([[6, 34], [1, 54]]).pvalue
    assert difference_p(first, second) == difference_p(second, first) == pytest.approx(expected)
