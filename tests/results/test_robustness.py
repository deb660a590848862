"""Domain shift and bias: false alarms, kept average precision, and groups of people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from uadbench.results.bias import bias
from uadbench.results.robustness import robustness

PEOPLE = [f"sub-{index:02d}" for index in range(20)]


def rows(anomaly: str, scores, severity: float = 0.0, people=PEOPLE, **columns) -> pd.DataFrame:
    named = {"participant_id": people, "session_id": "ses-M000", "anomaly": anomaly, "severity": severity}
    return pd.DataFrame({**named, "subject.score": scores, **columns})


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    plain = rng.uniform(0.5, 0.7, 20)
    parts = [
        rows("healthy", np.arange(20.0)),
        rows("ad", 1.0, 0.2, **{"ap.standard": plain}),
        rows("ad", 1.0, 0.3, **{"ap.standard": 1.0}),
        rows("unseen", 1.0, 0.2, **{"ap.standard": plain - 0.2}),
        rows("shifted:blurred", np.arange(20.0) + 1),
        rows("shifted:blurred:ad", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": 0.9 * plain[:5]}),
        rows("shifted:blurred:unseen", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": 0.9 * (plain[:5] - 0.2)}),
        rows("shifted:motion", np.arange(20.0) + 8),
        rows("shifted:motion:ad", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": plain[:5] * rng.uniform(0.5, 0.7, 5)}),
        rows("shifted:motion:unseen", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": 0.6 * (plain[:5] - 0.2)}),
        rows("shifted:cut", 100.0),
        rows("shifted:cut:ad", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": 0.1 * plain[:5]}),
        rows("shifted:cut:unseen", 1.0, 0.2, PEOPLE[:5], **{"ap.standard": 0.1 * (plain[:5] - 0.2)}),
    ]
    return pd.concat(parts, ignore_index=True)


def test_false_alarms_are_a_share_with_scipy_s_interval(table: pd.DataFrame) -> None:
    found = robustness(table, 18.0)
    assert found is not None and found.participants == 5
    for each, count in [(found.unshifted, 1), (found.shifts[0].false_alarms, 2), (found.shifts[1].false_alarms, 9)]:
        exact = stats.binomtest(count, 20).proportion_ci(method="exact")
        assert (each.value, each.low, each.high) == pytest.approx((count / 20, exact.low, exact.high), rel=1e-5)
    assert (found.worst_shift, found.worst_false_alarms) == ("motion", 0.45)


def test_kept_precision_is_a_ratio_on_the_same_people(table: pd.DataFrame) -> None:
    found = robustness(table.sample(frac=1, random_state=1), 18.0)
    assert found is not None
    responses = {each.shift: each.ap_kept for each in found.shifts}
    kept = responses["blurred"]
    assert (kept.value, kept.low, kept.high) == pytest.approx((0.9, 0.9, 0.9), rel=1e-5), "everyone keeps 90 %"
    moved = responses["motion"]
    means = table.groupby(["anomaly", "severity"])["ap.standard"].apply(lambda values: values.iloc[:5].mean())
    expected = (means["shifted:motion:ad", 0.2] + means["shifted:motion:unseen", 0.2]) / (
        means["ad", 0.2] + means["unseen", 0.2]
    )
    assert moved.value == pytest.approx(expected, rel=1e-5) and moved.low < moved.value < moved.high
    assert (found.least_shift, found.least_ap_kept) == ("motion", moved.value)


@pytest.mark.slow
def test_the_interval_of_the_ratio_covers() -> None:
    rng, covered = np.random.default_rng(3), 0
    for _ in range(300):
        plain = rng.normal(0.6, 0.08, 20)
        shifted = 0.8 * plain + rng.normal(0, 0.05, 20)
        parts = [
            rows("healthy", 0.0),
            rows("ad", 0.0, 0.2, **{"ap.standard": plain}),
            rows("shifted:x", 0.0),
            rows("shifted:x:ad", 0.0, 0.2, **{"ap.standard": shifted}),
        ]
        found = robustness(pd.concat(parts, ignore_index=True), None)
        assert found is not None
        kept = found.shifts[0].ap_kept
        covered += bool(kept.low <= 0.8 <= kept.high)
    assert 0.92 <= covered / 300 <= 0.985


def test_without_a_threshold_there_are_no_false_alarms(table: pd.DataFrame) -> None:
    found = robustness(table, None)
    assert found is not None and found.worst_shift is None and found.worst_false_alarms is None
    assert found.shifts[0].false_alarms.value is None and found.shifts[0].ap_kept.value is not None
    assert robustness(table[~table["anomaly"].str.startswith("shifted:")], 18.0) is None
    assert bias(table.assign(age=70.0, sex="F"), None) is None


def test_groups_of_the_bias_audit() -> None:
    ages = np.arange(55.0, 75.0)
    tested = rows("healthy", np.where(ages > 70, 9.0, 0.0), age=ages, sex=["F", "M"] * 10)
    more = rows("audit", 0.0, people=[f"sub-x{i}" for i in range(10)], age=np.arange(60.0, 70.0), sex=["F"] * 9 + [""])
    others = rows("patients", 9.0, age=90.0, sex="M")
    found = bias(pd.concat([tested, more, others], ignore_index=True), 1.0)
    assert found is not None and (found.participants, found.audited) == (30, 10)
    by_age = [group for group in found.groups if group.by == "age"]
    assert sum(group.participants for group in by_age) == 30 and len(by_age) == 3
    assert [group.value for group in by_age] == ["55-62", "63-67", "68-74"]
    assert [group.false_alarms.value for group in by_age[:2]] == [0, 0] and by_age[2].false_alarms.value > 0
    assert found.p_age is not None and found.p_age < 0.01
    sexes = {group.value: group.participants for group in found.groups if group.by == "sex"}
    assert sexes == {"F": 19, "M": 10}
    exact = stats.fisher_exact([[2, 17], [2, 8]]).pvalue
    assert found.p_sex == pytest.approx(exact, rel=1e-5)


def test_people_without_age_or_sex_are_in_no_group() -> None:
    unknown = rows("healthy", 0.0, age=np.nan, sex="")
    assert bias(unknown, 1.0) is None
    assert bias(unknown.drop(columns=["age", "sex"]), 1.0) is None
