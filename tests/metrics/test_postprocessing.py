"""The standard post-processing against scipy's Gaussian filter and numpy's mean and SD."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from uadbench.metrics import postprocessing
from uadbench.metrics.postprocessing import (
    BrainSmoothing,
    Calibration,
    calibrate,
    compiled_smoothing,
    held_out,
    plain_smoothing,
    standardise,
)

SHAPE = (13, 17, 11)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Volumes are small here: threads would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["compiled", "plain"])
def smoothing(request: pytest.FixtureRequest):
    """`BrainSmoothing` both ways: compiled as on a CPU, and in torch as on other devices."""

    def either(*inputs):
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "plain":
                patch.setattr(postprocessing, "compiled_smoothing", plain_smoothing)
            return BrainSmoothing(*inputs)

    return either


def brain(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """An ellipsoid that touches the border, so that padding counts."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return torch.tensor(sum(axis**2 for axis in axes) < 1.1)


def noise(cases: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(cases, *shape)), dtype=torch.float32)


def in_brain(maps: torch.Tensor) -> torch.Tensor:
    """(N, V) voxels of the brain, of maps (N, X, Y, Z)."""
    return maps[:, brain()]


def varied(cases: int, seed: int = 0) -> torch.Tensor:
    """(N, V) noise of which some voxels vary more than others."""
    return in_brain(noise(cases, seed) * torch.linspace(0.01, 2, SHAPE[0])[:, None, None])


@pytest.mark.parametrize(("fwhm", "voxel"), [(12.0, 4.0), (8.0, 2.0), (6.0, 7.0)])
def test_smoothing_equals_scipy(smoothing, fwhm: float, voxel: float) -> None:
    maps, mask = noise(3), brain().numpy()
    sigma = fwhm / 2.3548200450309493 / voxel
    weight = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant", truncate=4.0)
    smoothed = smoothing(brain(), fwhm, voxel)(maps)
    assert smoothed.dtype == torch.float32 and smoothed.shape == (3, mask.sum())
    for values, found in zip(maps.numpy(), smoothed.numpy(), strict=True):
        blurred = ndimage.gaussian_filter(np.where(mask, values, 0).astype(float), sigma, mode="constant", truncate=4.0)
        np.testing.assert_allclose(found, blurred[mask] / weight[mask], rtol=1e-6, atol=1e-7)


@given(value=st.floats(-5, 5, width=32), junk=st.sampled_from([0.0, 1e6, math.nan, math.inf]))
@settings(max_examples=20, deadline=None)
def test_a_constant_stays_up_to_the_rim_whatever_is_outside(smoothing, value, junk) -> None:
    mask = brain()
    maps = torch.full((1, *SHAPE), value).where(mask, junk)
    smoothed = smoothing(mask, 12.0, 4.0)(maps)
    assert (smoothed == value).all()  # to the bit: rounding would rank the voxels of a map that tells nothing


def test_smoothing_keeps_the_sign(smoothing) -> None:
    maps, smooth = noise(2), smoothing(brain(), 12.0, 4.0)
    assert torch.equal(smooth(-maps), -smooth(maps))
    assert (smooth(maps) < 0).any()


@given(shape=st.tuples(*[st.integers(4, 14)] * 3), cases=st.integers(2, 5), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_map_is_the_same_alone_and_in_any_batch(smoothing, shape, cases, seed, data) -> None:
    maps, smooth = noise(cases, seed, shape), smoothing(brain(shape), 12.0, 4.0)
    smoothed = smooth(maps)
    order = data.draw(st.permutations(range(cases)))
    assert torch.equal(smooth(maps[order]), smoothed[order])
    calibration = calibrate([smoothed], 0.1)
    z_scores = standardise(smoothed, calibration)
    for case in range(cases):
        alone = smooth(maps[case, None].clone())
        assert torch.equal(alone[0], smoothed[case])
        assert torch.equal(standardise(alone, calibration)[0], z_scores[case])


densities = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.6, 1.0]))  # none: an ellipsoid


@given(
    shape=st.tuples(*[st.integers(1, 15)] * 3),
    sigma=st.sampled_from([0.05, 0.3, 0.7, 1.27, 2.5, 6.0]),  # the radius, four of these, may exceed the volume
    density=densities,
    junk=st.sampled_from([1e30, math.nan, math.inf, -math.inf]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_compiled_smoothing_equals_plain_smoothing(shape, sigma, density, junk, seed) -> None:
    rng = np.random.default_rng(seed)
    mask = brain(shape) if density is None else torch.tensor(rng.random(shape) < density)
    values = torch.tensor(rng.uniform(-1, 1, shape), dtype=torch.float32)
    compiled, plain = compiled_smoothing(mask, sigma), plain_smoothing(mask, sigma)
    for each in (values, torch.ones(shape)):
        found, expected = compiled(each), plain(each)
        assert found.shape == expected.shape == shape and found.dtype == expected.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for smooth in (compiled, plain):
        assert torch.equal(smooth(values.where(mask, junk)), smooth(values.where(mask, 0.0)))


def test_both_ways_give_the_same_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = noise(3).clamp(-1, 1)
    compiled = BrainSmoothing(brain(), 12.0, 4.0)(maps)
    monkeypatch.setattr(postprocessing, "compiled_smoothing", plain_smoothing)
    plain = BrainSmoothing(brain(), 12.0, 4.0)(maps)
    assert not torch.equal(compiled, plain)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-6)


def test_how_maps_lie_in_memory_does_not_matter(smoothing) -> None:
    maps, mask = noise(2), brain()
    turned = maps.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    turned_mask = mask.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    expected, smooth = smoothing(mask, 12.0, 4.0)(maps), smoothing(turned_mask, 12.0, 4.0)
    assert torch.equal(smooth(turned), expected) and torch.equal(smooth(maps), expected)
    assert torch.equal(smooth.voxels(turned), maps[:, mask])


@given(shape=st.tuples(*[st.integers(1, 9)] * 3), cases=st.integers(0, 3), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_voxels_and_volumes_undo_each_other_in_the_brain(shape, cases, seed) -> None:
    rng = np.random.default_rng(seed)
    mask, maps = torch.tensor(rng.random(shape) < 0.5), noise(cases, seed, shape)
    smooth = BrainSmoothing(mask, 12.0, 4.0)
    values = smooth.voxels(maps)
    assert torch.equal(values, maps[:, mask])
    assert torch.equal(smooth.volumes(values), maps.where(mask, 0.0))
    assert torch.equal(smooth.voxels(mask), mask[mask][None])
    if cases:
        assert torch.equal(smooth.voxels(maps[0]), values[:1])


@pytest.mark.parametrize("offset", [0.0, 1e4])  # beside the offset, sums of squares in one pass would lose the SD
def test_calibration_equals_numpy(offset: float) -> None:
    maps = varied(9) + offset
    calibration = calibrate((maps[start : start + 4] for start in (0, 4, 8)), 0.5)
    exact = maps.double().numpy()
    sd = exact.std(axis=0, ddof=1)
    floor = 0.5 * np.median(sd)
    assert (sd < floor).any()
    assert (sd > floor).any()
    np.testing.assert_allclose(calibration.mean.numpy(), exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(calibration.sd.numpy(), np.maximum(sd, floor), rtol=1e-6)
    assert calibration.mean.dtype == calibration.sd.dtype == torch.float32


@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 7), max_size=4).map(sorted))
@settings(max_examples=30, deadline=None)
def test_how_scans_are_batched_changes_nothing(seed, cuts) -> None:
    maps = in_brain(noise(7, seed))
    batches = [maps[start:stop] for start, stop in zip([0, *cuts], [*cuts, 7], strict=True)]
    whole, parts = calibrate([maps], 0.1), calibrate(batches, 0.1)
    assert torch.equal(whole.mean, parts.mean)
    assert torch.equal(whole.sd, parts.sd)


@given(value=st.floats(-5, 5, width=32))
@settings(max_examples=25, deadline=None)
def test_a_model_whose_maps_never_vary_keeps_a_zero_map(smoothing, value) -> None:
    smoothed = smoothing(brain(), 12.0, 4.0)(torch.full((5, *SHAPE), value))
    calibration = calibrate([smoothed], 0.1)
    assert (calibration.sd == 1).all()
    assert not standardise(smoothed, calibration).any()


def test_standardise_equals_numpy_and_leaves_its_maps_alone() -> None:
    maps = in_brain(noise(3))
    before = maps.clone()
    calibration = Calibration(in_brain(noise(1, seed=1))[0], in_brain(noise(1, seed=2))[0].abs() + 0.1)
    found = standardise(maps, calibration)
    expected = (before.numpy() - calibration.mean.numpy()) / calibration.sd.numpy()
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert torch.equal(maps, before)


@given(scans=st.integers(3, 9), seed=st.integers(0, 10**6), floor=st.sampled_from([0.05, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_held_out_is_what_the_others_make_of_a_scan(scans, seed, floor) -> None:
    maps = varied(scans, seed) + 0.5
    before = maps.clone()
    found = held_out(maps, floor)
    assert torch.equal(maps, before)
    assert found.dtype == torch.float32
    for scan in range(scans):
        others = calibrate([maps[[k for k in range(scans) if k != scan]]], floor)
        expected = standardise(maps[scan, None], others)[0]
        np.testing.assert_allclose(found[scan].numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scans", [0, 1, 2])
def test_holding_out_needs_three_scans(scans: int) -> None:
    with pytest.raises(ValueError, match=f"not {scans}$"):
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
    maps = torch.tensor(np.random.default_rng(4).normal(3, 2, (scans, voxels)), dtype=torch.float32)
    new = torch.tensor(np.random.default_rng(5).normal(3, 2, (scans, voxels)), dtype=torch.float32)
    calibration = calibrate([maps], 1e-6)
    in_sample, unseen = (standardise(m, calibration) for m in (maps, new))
    found = held_out(maps, 1e-6)
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
        calibrate([torch.rand(n, 20) for n in batches], 0.1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_calibration_refuses_values_that_are_not_finite(wrong: float) -> None:
    maps = in_brain(noise(3))
    maps[1, 300] = wrong
    with pytest.raises(ValueError, match="not finite"):
        calibrate([maps], 0.1)


def test_calibration_refuses_an_empty_brain() -> None:
    nowhere = BrainSmoothing(torch.zeros(SHAPE, dtype=torch.bool), 12.0, 4.0)
    smoothed = nowhere(noise(3))
    assert smoothed.shape == (3, 0)
    with pytest.raises(ValueError, match="empty"):
        calibrate([smoothed], 0.1)


@pytest.mark.parametrize("floor", [0.0, -0.1, math.nan])
def test_calibration_refuses_a_floor_that_is_not_positive(floor: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        calibrate([in_brain(noise(3))], floor)


@pytest.mark.parametrize(("fwhm", "voxel"), [(0.0, 4.0), (12.0, 0.0), (-12.0, -4.0), (math.nan, 4.0)])
def test_smoothing_refuses_widths_that_are_not_positive(fwhm: float, voxel: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        BrainSmoothing(brain(), fwhm, voxel)


@pytest.mark.parametrize("mask", [brain()[0], brain()[None], brain().float(), brain().to(torch.uint8)])
def test_a_brain_that_is_no_mask_is_an_error(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="brain mask"):
        BrainSmoothing(mask, 12.0, 4.0)


@pytest.mark.parametrize("maps", [noise(1)[0], noise(1)[:, :-1], noise(1)[:, None], noise(1).permute(0, 3, 1, 2)])
def test_maps_that_do_not_fit_the_brain_are_an_error(smoothing, maps: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="do not fit the brain mask"):
        smoothing(brain(), 12.0, 4.0)(maps)
