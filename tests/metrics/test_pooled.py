"""Pooled rankings against scikit-learn: the exact scores lie between the bounds, and near the value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.metrics.pooled import Pooled, PooledRanking


def pooled(*scans: tuple[np.ndarray, np.ndarray]) -> Pooled:
    ranking = PooledRanking()
    for scores, truth in scans:
        ranking.add(scores, truth)
    return ranking.result()


def voxels(count: int, seed: int, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([-1, 0, 1], dtype=np.int8), count, p=[0.2, 0.7, 0.1])
    return (rng.normal(size=count) + effect * (truth == 1)).astype(np.float32), truth


@given(count=st.integers(20, 400), seed=st.integers(0, 10**6), rounding=st.sampled_from([0, 1, 6]))
@example(count=20, seed=510510, rounding=1)  # positives that tie after a negative: better than one after the other
@settings(max_examples=40, deadline=None)
def test_exact_scores_lie_between_the_bounds(count, seed, rounding) -> None:
    scores, truth = voxels(count, seed)
    scores = scores.round(rounding)  # ties
    counts = truth >= 0
    if len(set(truth[counts])) < 2:
        return
    found = pooled((scores, truth))
    for exact, score in (
        (average_precision_score(truth[counts], scores[counts]), found.average_precision),
        (roc_auc_score(truth[counts], scores[counts]), found.auroc),
    ):
        assert score.low - 1e-12 <= exact <= score.high + 1e-12
        assert score.low <= score.value <= score.high + 1e-12
    assert found.prevalence == pytest.approx((truth == 1).sum() / counts.sum())


def test_many_voxels_leave_narrow_bounds() -> None:
    scores, truth = voxels(1_000_000, 1)
    counts = truth >= 0
    found = pooled((scores, truth))
    assert found.average_precision.value == pytest.approx(
        average_precision_score(truth[counts], scores[counts]), abs=5e-6
    )
    assert found.auroc.value == pytest.approx(roc_auc_score(truth[counts], scores[counts]), abs=5e-6)
    assert found.average_precision.high - found.average_precision.low < 2e-4
    assert found.auroc.high - found.auroc.low < 2e-4


def test_scan_by_scan_is_the_same_as_all_at_once() -> None:
    first, second = voxels(5000, 2), voxels(3000, 3, effect=3.0)
    together = tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))
    assert pooled(first, second) == pooled(together) == pooled(second, first)


def test_a_perfect_map_is_perfect_and_a_constant_one_is_chance() -> None:
    truth = np.array([1, 0, 0, 1, -1, 0], dtype=np.int8)
    perfect = pooled((truth.astype(np.float32), truth))
    assert perfect.average_precision.value == perfect.auroc.value == perfect.auroc.low == 1.0
    constant = pooled((np.zeros(6, np.float32), truth))
    assert constant.auroc.value == 0.5
    assert constant.average_precision.low < 0.4 < constant.average_precision.high


def test_a_class_that_is_missing_leaves_nan() -> None:
    scores = np.arange(4, dtype=np.float32)
    assert np.isnan(pooled((scores, np.zeros(4, np.int8))).average_precision.value)
    alone = pooled((scores, np.ones(4, np.int8)))
    assert alone.average_precision.value == 1.0 and np.isnan(alone.auroc.value)
    assert np.isnan(pooled().prevalence)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        pooled((np.zeros(3, np.float32), np.zeros(4, np.int8)))
    with pytest.raises(ValueError, match="NaN"):
        pooled((np.array([np.nan, 1], np.float32), np.array([0, 1], np.int8)))
    ignored = pooled((np.array([np.nan, 1, 0], np.float32), np.array([-1, 1, 0], np.int8)))
    assert ignored.auroc.value == 1.0
