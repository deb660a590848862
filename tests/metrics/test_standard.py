"""The standard post-processing against scipy's Gaussian filter and numpy's mean and SD."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from uadbench.metrics.standard import Calibration, calibrate, held_out, smooth_in_brain, standardise

SHAPE = (13, 17, 11)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Volumes are small here: threads would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def brain(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """An ellipsoid that touches the border, so that padding counts."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return torch.tensor(sum(axis**2 for axis in axes) < 1.1)


def noise(cases: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(cases, *shape)), dtype=torch.float32)


@pytest.mark.parametrize(("fwhm", "voxel"), [(12.0, 4.0), (8.0, 2.0), (6.0, 7.0)])
def test_smoothing_equals_scipy(fwhm: float, voxel: float) -> None:
    maps, mask = noise(3), brain().numpy()
    sigma = fwhm / 2.3548200450309493 / voxel
    weight = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant", truncate=4.0)
    smoothed = smooth_in_brain(maps, brain(), fwhm, voxel)
    assert smoothed.dtype == torch.float32
    for values, found in zip(maps.numpy(), smoothed.numpy(), strict=True):
        blurred = ndimage.gaussian_filter(np.where(mask, values, 0).astype(float), sigma, mode="constant", truncate=4.0)
        np.testing.assert_allclose(found[mask], blurred[mask] / weight[mask], rtol=1e-6, atol=1e-7)
        assert not found[~mask].any()


@given(value=st.floats(-5, 5, width=32), junk=st.sampled_from([0.0, 1e6, math.nan, math.inf]))
@settings(max_examples=20, deadline=None)
def test_a_constant_stays_up_to_the_rim_whatever_is_outside(value, junk) -> None:
    mask = brain()
    maps = torch.full((1, *SHAPE), value).where(mask, junk)
    smoothed = smooth_in_brain(maps, mask, 12.0, 4.0)[0]
    np.testing.assert_allclose(smoothed[mask].numpy(), value, rtol=1e-6)
    assert (smoothed[~mask] == 0).all()


def test_smoothing_keeps_the_sign() -> None:
    maps = noise(2)
    assert torch.equal(smooth_in_brain(-maps, brain(), 12.0, 4.0), -smooth_in_brain(maps, brain(), 12.0, 4.0))
    assert (smooth_in_brain(maps, brain(), 12.0, 4.0) < 0).any()


@given(shape=st.tuples(*[st.integers(4, 14)] * 3), cases=st.integers(2, 5), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_map_is_the_same_alone_and_in_any_batch(shape, cases, seed, data) -> None:
    maps, mask = noise(cases, seed, shape), brain(shape)
    smoothed = smooth_in_brain(maps, mask, 12.0, 4.0)
    order = data.draw(st.permutations(range(cases)))
    assert torch.equal(smooth_in_brain(maps[order], mask, 12.0, 4.0), smoothed[order])
    calibration = calibrate([smoothed], mask, 0.1)
    z_scores = standardise(smoothed, calibration, mask)
    for case in range(cases):
        alone = smooth_in_brain(maps[case, None].clone(), mask, 12.0, 4.0)
        assert torch.equal(alone[0], smoothed[case])
        assert torch.equal(standardise(alone, calibration, mask)[0], z_scores[case])


@pytest.mark.parametrize("offset", [0.0, 1e4])  # beside the offset, sums of squares in one pass would lose the SD
def test_calibration_equals_numpy(offset: float) -> None:
    maps, mask = noise(9) * torch.linspace(0.01, 2, SHAPE[0])[:, None, None] + offset, brain()
    calibration = calibrate((maps[start : start + 4] for start in (0, 4, 8)), mask, 0.5)
    exact = maps.double().numpy()
    sd = exact.std(axis=0, ddof=1)
    floor = 0.5 * np.median(sd[mask.numpy()])
    assert (sd < floor).any()
    assert (sd > floor).any()
    np.testing.assert_allclose(calibration.mean.numpy(), exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(calibration.sd.numpy(), np.maximum(sd, floor), rtol=1e-6)
    assert calibration.mean.dtype == calibration.sd.dtype == torch.float32


@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 7), max_size=4).map(sorted))
@settings(max_examples=30, deadline=None)
def test_how_scans_are_batched_changes_nothing(seed, cuts) -> None:
    maps = noise(7, seed)
    batches = [maps[start:stop] for start, stop in zip([0, *cuts], [*cuts, 7], strict=True)]
    whole, parts = calibrate([maps], brain(), 0.1), calibrate(batches, brain(), 0.1)
    assert torch.equal(whole.mean, parts.mean)
    assert torch.equal(whole.sd, parts.sd)


@given(value=st.floats(-5, 5, width=32))
@settings(max_examples=25, deadline=None)
def test_a_model_whose_maps_never_vary_keeps_a_zero_map(value) -> None:
    mask = brain()
    smoothed = smooth_in_brain(torch.full((5, *SHAPE), value), mask, 12.0, 4.0)
    calibration = calibrate([smoothed], mask, 0.1)
    assert (calibration.sd == 1).all()
    assert not standardise(smoothed, calibration, mask).any()


def test_standardise_equals_numpy_in_the_brain_and_is_zero_outside() -> None:
    maps, mask = noise(3), brain()
    calibration = Calibration(noise(1, seed=1)[0], noise(1, seed=2)[0].abs() + 0.1)
    found = standardise(maps, calibration, mask).numpy()
    expected = (maps.numpy() - calibration.mean.numpy()) / calibration.sd.numpy()
    np.testing.assert_allclose(found[:, mask.numpy()], expected[:, mask.numpy()], rtol=1e-6)
    assert not found[:, ~mask.numpy()].any()


@given(scans=st.integers(3, 9), seed=st.integers(0, 10**6), floor=st.sampled_from([0.05, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_held_out_is_what_the_others_make_of_a_scan(scans, seed, floor) -> None:
    maps, mask = noise(scans, seed) * torch.linspace(0.01, 2, SHAPE[0])[:, None, None] + 0.5, brain()
    found = held_out(maps[:, mask], floor)
    assert found.dtype == torch.float32
    for scan in range(scans):
        others = calibrate([maps[[k for k in range(scans) if k != scan]]], mask, floor)
        expected = standardise(maps[scan, None], others, mask)[0, mask]
        np.testing.assert_allclose(found[scan].numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scans", [0, 1, 2])
def test_holding_out_needs_three_scans(scans: int) -> None:
    with pytest.raises(ValueError, match=f"holding one of {scans} scans out leaves too few"):
        held_out(torch.rand(scans, 5), 0.5)


@given(scans=st.integers(3, 40), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_held_out_maps_that_never_vary_are_zero(scans, seed) -> None:
    one = torch.tensor(np.random.default_rng(seed).normal(size=20), dtype=torch.float32)
    found = held_out(one.repeat(scans, 1), 0.5)
    assert found.shape == (scans, 20) and not found.any()


def test_held_out_maps_are_spread_as_those_of_new_scans() -> None:
    """Scans that helped to calibrate look more ordinary than new ones: why scans are held out."""
    scans, voxels = 12, 20_000
    maps = torch.tensor(np.random.default_rng(4).normal(3, 2, (scans, voxels, 1, 1)), dtype=torch.float32)
    new = torch.tensor(np.random.default_rng(5).normal(3, 2, (scans, voxels, 1, 1)), dtype=torch.float32)
    everywhere = torch.ones(voxels, 1, 1, dtype=torch.bool)
    calibration = calibrate([maps], everywhere, 1e-6)
    in_sample, unseen = (standardise(m, calibration, everywhere).flatten(1) for m in (maps, new))
    found = held_out(maps.flatten(1), 1e-6)
    assert in_sample.std() < 0.97 and found.std() > 1.1
    limits = [float(m.flatten().quantile(0.99)) for m in (in_sample, unseen, found)]
    assert limits[0] < 0.85 * limits[1] and limits[2] == pytest.approx(limits[1], rel=0.1)
    # a normal value against the mean and SD of n others is Student's t with n - 1, times the root of 1 + 1 / n
    others = scans - 1
    for scan in range(scans):
        standardised = found[scan].double().numpy() / math.sqrt(1 + 1 / others)
        assert stats.kstest(standardised, stats.t(others - 1).cdf).pvalue > 1e-4
        assert stats.kstest(in_sample[scan].double().numpy(), stats.t(others - 1).cdf).pvalue < 1e-4


@pytest.mark.parametrize("batches", [[], [1], [0, 1]])
def test_calibration_needs_two_maps(batches: list[int]) -> None:
    with pytest.raises(ValueError, match=f"at least two healthy maps, not {sum(batches)}"):
        calibrate([noise(n) for n in batches], brain(), 0.1)


def test_calibration_refuses_values_that_are_not_finite_in_the_brain() -> None:
    maps = noise(3)
    maps[1, 6, 8, 5] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        calibrate([maps], brain(), 0.1)


def test_calibration_refuses_an_empty_brain() -> None:
    with pytest.raises(ValueError, match="empty"):
        calibrate([noise(3)], torch.zeros(SHAPE, dtype=torch.bool), 0.1)


@pytest.mark.parametrize("floor", [0.0, -0.1, math.nan])
def test_calibration_refuses_a_floor_that_is_not_positive(floor: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        calibrate([noise(3)], brain(), floor)


@pytest.mark.parametrize(("fwhm", "voxel"), [(0.0, 4.0), (12.0, 0.0), (-12.0, -4.0), (math.nan, 4.0)])
def test_smoothing_refuses_widths_that_are_not_positive(fwhm: float, voxel: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        smooth_in_brain(noise(1), brain(), fwhm, voxel)


@pytest.mark.parametrize(
    ("maps", "mask"),
    [
        (noise(1)[0], brain()),
        (noise(1)[:, :-1], brain()),
        (noise(1)[:, None], brain()[None]),
        (noise(1), brain().float()),
    ],
)
def test_maps_that_do_not_fit_the_brain_are_an_error(maps: torch.Tensor, mask: torch.Tensor) -> None:
    flat = Calibration(torch.zeros(SHAPE), torch.ones(SHAPE))
    for act in (
        lambda: smooth_in_brain(maps, mask, 12.0, 4.0),
        lambda: calibrate([maps, maps], mask, 0.1),
        lambda: standardise(maps, flat, mask),
    ):
        with pytest.raises(ValueError, match="do not fit the brain mask"):
            act()
