"""Scores and thresholds of scans and voxels: against plain counting, scipy, and scans whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from uadbench.metrics.scan_score import SubjectThreshold, Threshold, subject_threshold, top_mean, voxel_threshold

# few distinct values make ties; wide floats make none
values = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6, width=32, allow_subnormal=False))
maps = npst.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=values)
rates = st.one_of(st.sampled_from([0.001, 0.01, 0.1, 0.25, 0.5, 1.0]), st.floats(1e-4, 1))


def normal_maps(seed: int, scans: int, voxels: int, shift: float) -> torch.Tensor:
    """Independent normal voxels, with a shift of each scan's own; the seed fixes the voxels whatever the shift."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(scans, voxels))
    return torch.from_numpy(noise + shift * rng.normal(size=(scans, 1))).float()


@given(maps, rates)
@settings(max_examples=80, deadline=None)
def test_top_mean_is_the_mean_of_the_highest(drawn: np.ndarray, share: float) -> None:
    found = top_mean(torch.from_numpy(drawn), share)
    assert found.dtype == torch.float64
    for row, score in zip(drawn, found.tolist(), strict=True):
        ordered = np.sort(row.astype(np.float64))[::-1]
        count = 1
        while count < share * len(row) - 1e-9:
            count += 1
        assert score == pytest.approx(ordered[:count].mean(), rel=1e-12, abs=1e-9)


@given(maps, rates, st.lists(st.sampled_from([math.inf, -math.inf, math.nan, -0.0, 0.0, 1e-45]), max_size=3))
@settings(max_examples=80, deadline=None)
def test_top_mean_on_a_cpu_equals_that_of_other_devices(drawn: np.ndarray, share: float, odd: list[float]) -> None:
    """Values that are not finite included; other devices take torch's highest values."""
    maps = torch.from_numpy(drawn.copy())
    maps[0, : len(odd)] = torch.tensor(odd)[: maps.shape[1]]
    before = maps.clone()
    count = max(1, math.ceil(share * maps.shape[1] - 1e-9))
    expected, least = maps.topk(count, dim=1).values.double().mean(dim=1), 1e-14 * np.abs(drawn).max()
    np.testing.assert_allclose(top_mean(maps, share), expected, rtol=1e-12, atol=least)
    np.testing.assert_array_equal(top_mean(maps.T.contiguous().T, share), top_mean(maps, share))
    np.testing.assert_array_equal(maps, before)


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("decimals", [1, 7])
def test_top_mean_of_a_whole_brain(share: float, decimals: int) -> None:
    drawn = np.round(np.random.default_rng(6).normal(size=(3, 25_000)), decimals).astype(np.float32)
    expected = np.sort(drawn.astype(np.float64), axis=1)[:, -math.ceil(share * 25_000) :].mean(axis=1)
    np.testing.assert_allclose(top_mean(torch.from_numpy(drawn), share), expected, rtol=1e-12, atol=1e-14)


@given(maps, rates, st.data())
@settings(max_examples=40, deadline=None)
def test_a_scan_scores_the_same_alone_and_whatever_the_order_of_its_voxels(drawn, share, data) -> None:
    """To rounding where voxels are reordered, as they are summed in their order."""
    together = top_mean(torch.from_numpy(drawn), share)
    order = data.draw(st.permutations(range(drawn.shape[1])))
    shuffled, least = top_mean(torch.from_numpy(drawn[:, order]), share), 1e-14 * np.abs(drawn).max()
    np.testing.assert_allclose(shuffled, together, rtol=1e-14, atol=least)
    for index in range(len(drawn)):
        assert torch.equal(top_mean(torch.from_numpy(drawn[index : index + 1]), share)[0], together[index])


@given(npst.arrays(np.float32, (3, 30), elements=st.integers(-1000, 1000).map(float)), rates, st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_a_constant_added_raises_the_score_by_it(drawn: np.ndarray, share: float, constant: int) -> None:
    before, after = (top_mean(torch.from_numpy(drawn + np.float32(offset)), share) for offset in (0, constant))
    np.testing.assert_allclose(after - before, constant, rtol=1e-12)
    assert (after > before).all()


def test_one_percent_of_a_brain() -> None:
    # 0.07 * 100 is 7.000000000000001: eight voxels would be too many
    assert top_mean(torch.arange(100.0)[None], 0.07).item() == pytest.approx(np.arange(93, 100).mean())
    assert top_mean(torch.arange(100.0)[None], 0.071).item() == pytest.approx(np.arange(92, 100).mean())
    assert top_mean(torch.arange(100.0)[None], 0.001).item() == 99


@given(maps, rates)
@settings(max_examples=150, deadline=None)
def test_the_voxel_threshold_is_the_smallest_that_few_enough_exceed(drawn: np.ndarray, rate: float) -> None:
    found = voxel_threshold(torch.from_numpy(drawn), rate)
    flat = drawn.ravel().astype(np.float64)
    assert found.value in flat
    assert (flat > found.value).sum() <= rate * len(flat) + 1e-6
    lower = flat[flat < found.value]
    if len(lower):
        assert (flat > lower.max()).sum() > rate * len(flat) - 1e-6
    assert found.low <= found.value <= found.high
    assert found.low in flat and found.high in flat


@given(st.integers(2, 10), st.integers(1, 200), st.floats(-5, 5, width=32), rates)
@settings(max_examples=30, deadline=None)
def test_constant_maps_have_their_constant_as_threshold(scans: int, voxels: int, value: float, rate: float) -> None:
    flat = torch.full((scans, voxels), value)
    assert voxel_threshold(flat, rate) == Threshold(value, value, value)
    assert not (flat > voxel_threshold(flat, rate).value).any()


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_interval_of_independent_voxels_is_that_of_order_statistics(rate: float) -> None:
    ratios = []
    for seed in range(12):
        drawn = normal_maps(seed, 60, 400, 0.0)
        found = voxel_threshold(drawn, rate)
        exact = stats.quantile_test(drawn.flatten().double().numpy(), p=1 - rate).confidence_interval(0.95)
        ratios.append((found.high - found.low) / (exact.high - exact.low))
        assert found.low == pytest.approx(exact.low, abs=0.03) and found.high == pytest.approx(exact.high, abs=0.03)
    assert 0.9 < np.mean(ratios) < 1.2


def test_identical_shares_take_every_voxel_as_an_observation() -> None:
    """Without spread between scans nothing says that voxels hang together: the bounds are Clopper and Pearson's."""
    one = torch.arange(500.0) / 500
    drawn = one.repeat(20, 1)
    found = voxel_threshold(drawn, 0.1)
    bounds = stats.binomtest(1000, 10_000).proportion_ci(0.95, "exact")
    ordered = np.sort(drawn.flatten().double().numpy())
    assert found.value == ordered[10_000 - 1 - 1000]
    assert found.low == ordered[10_000 - 1 - math.floor(bounds.high * 10_000)]
    assert found.high == ordered[10_000 - 1 - math.floor(bounds.low * 10_000)]


@pytest.mark.parametrize("seed", range(4))
def test_scans_that_differ_widen_the_interval(seed: int) -> None:
    narrow, wide = (voxel_threshold(normal_maps(seed, 40, 500, shift), 0.01) for shift in (0.0, 1.0))
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("shift", "least"), [(0.0, 0.92), (0.3, 0.87)])
def test_the_interval_covers_the_true_threshold(shift: float, least: float) -> None:
    truth = stats.norm.isf(0.01) * math.hypot(1, shift)
    found = [voxel_threshold(normal_maps(seed, 40, 400, shift), 0.01) for seed in range(300)]
    assert np.mean([threshold.low <= truth <= threshold.high for threshold in found]) >= least


@given(npst.arrays(np.float64, st.integers(0, 60), elements=values), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=80, deadline=None)
def test_the_subject_threshold_is_an_order_statistic(scores: np.ndarray, specificity: float) -> None:
    found = subject_threshold(scores.tolist(), specificity)
    n = len(scores)
    place = next((k for k in range(1, n + 1) if k / (n + 1) >= specificity - 1e-12), None)
    if place is None:
        assert found is None
        return
    bounds = stats.beta(place, n - place + 1).ppf([0.025, 0.975])
    assert found == SubjectThreshold(
        np.sort(scores)[place - 1], place, pytest.approx(bounds[0]), pytest.approx(bounds[1])
    )


def test_too_few_scans_or_a_score_that_is_not_finite_have_no_threshold() -> None:
    assert subject_threshold(list(range(18)), 0.95) is None
    assert subject_threshold(list(range(19)), 0.95).value == 18
    assert subject_threshold(list(range(39)), 0.95).value == 37
    for wrong in (math.nan, math.inf, -math.inf):
        assert subject_threshold([wrong, *range(38)], 0.95) is None


@pytest.mark.parametrize("scans", [19, 30, 64])
def test_the_threshold_keeps_its_specificity_and_the_bounds_cover_it(scans: int) -> None:
    rng = np.random.default_rng(scans)
    found = [subject_threshold(rng.normal(size=scans).tolist(), 0.95) for _ in range(2000)]
    true = stats.norm.cdf([threshold.value for threshold in found])
    error = true.std(ddof=1) / math.sqrt(len(true))
    expected = math.ceil((scans + 1) * 0.95 - 1e-9) / (scans + 1)
    assert expected >= 0.95 - 1e-12 and true.mean() == pytest.approx(expected, abs=4 * error)
    covered = [t.specificity_low <= share <= t.specificity_high for t, share in zip(found, true, strict=True)]
    assert 0.935 <= np.mean(covered) <= 0.965
