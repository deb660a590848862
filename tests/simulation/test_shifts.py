"""Shifts of finished scans: sizes, what they share between a scan and its altered version, and real resolutions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage

from uadbench.cohorts.phantom import Phantom, _sample
from uadbench.cohorts.synthetic import brain, maps, norms, render
from uadbench.cohorts.synthetic.norms import BASE
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.simulation.shifts import (
    REGULARISATION,
    RESOLUTION_MM,
    SHIFTS,
    Shift,
    _filtered,
    shift_named,
    shifted,
    shifted_mask,
    shifted_scan,
)
from uadbench.space import atlas
from uadbench.types import Grid, Volume

GRID = Grid((20, 24, 20), 8.0, (-77.0, -108.0, -67.0))
PROTOCOLS = ("smoke", "quick", "paper")
every_shift = pytest.mark.parametrize("shift", SHIFTS.values(), ids=list(SHIFTS))
seeds = st.integers(0, 2**63)


@pytest.fixture(scope="module")
def volume(fold_data) -> Volume:
    return fold_data.cases.scans[0].data


@pytest.fixture(scope="module")
def grid(fold_data) -> Grid:
    return fold_data.protocol.lattice


@every_shift
@given(seed=seeds)
@settings(max_examples=3, deadline=None)
def test_size_zero_changes_no_bit(shift: Shift, seed: int) -> None:
    noise = np.random.default_rng(seed % 2**32).random(GRID.shape, dtype=np.float32)
    none = replace(shift, size=0.0)
    result = shifted(noise, GRID, none, seed)
    assert result is not noise and result.tobytes() == noise.tobytes()
    assert shifted_mask(noise, GRID, none, seed).tobytes() == noise.tobytes()


@pytest.mark.parametrize("name", sorted(set(SHIFTS) - {"cut"}))
@given(seed=seeds)
@settings(max_examples=2, deadline=None)
def test_a_small_shift_changes_little_and_a_smaller_one_less(volume, grid, name: str, seed: int) -> None:
    """Size 0 is handled apart, so sizes near 0 show that an operation does not jump there."""
    shift = SHIFTS[name]
    small, smaller = (
        np.abs(shifted(volume, grid, replace(shift, size=share * shift.size), seed) - volume).max()
        for share in (0.02, 0.004)
    )
    assert 0 < smaller < 0.6 * small < 0.15


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_cut_leaves_out_what_lies_below_it(name: str) -> None:
    grid, shift = load_protocol(name).lattice, replace(SHIFTS["cut"], renormalised=False)
    result = shifted(np.ones(grid.shape, dtype=np.float32), grid, shift, 0)
    bottom = grid.origin[2] + grid.voxel_mm * (np.arange(grid.shape[2]) - 0.5)
    assert (result[..., bottom >= -60] == 1).all() and (result[..., bottom + grid.voxel_mm <= -60] == 0).all()
    assert result[0, 0].sum() * grid.voxel_mm == pytest.approx(bottom[-1] + grid.voxel_mm + 60, abs=1e-3)


@every_shift
def test_a_shift_is_a_pure_function_of_scan_size_and_seed(volume, grid, shift: Shift) -> None:
    before = volume.tobytes()
    first = shifted(volume, grid, shift, 7)
    shifted(volume, grid, SHIFTS["noisier"], 8)
    assert shifted(volume.copy(), grid, shift, 7).tobytes() == first.tobytes()
    assert volume.tobytes() == before and first.dtype == np.float32 and np.isfinite(first).all()
    differs = len({shifted(volume, grid, shift, seed).tobytes() for seed in range(9)}) > 1
    assert differs == (shift.name in ("noisier", "translation", "pitch", "yaw", "scaling", "motion"))


@every_shift
@given(seed=seeds, severity=st.floats(0, 0.7))
@settings(max_examples=3, deadline=None)
def test_shift_and_alteration_commute(fold_data, grid, shift: Shift, seed: int, severity: float) -> None:
    """Exactly where a shift scales uptake, and up to interpolation where it moves the brain."""
    scan, mask = fold_data.cases.scans[1].data, fold_data.cases.smoothed_masks["ad"]
    altered = scan * (1 - np.float32(severity) * mask)
    shift_last = shifted(altered, grid, shift, seed)
    alter_last = shifted(scan, grid, shift, seed) * (1 - np.float32(severity) * shifted_mask(mask, grid, shift, seed))
    off = np.abs(shift_last - alter_last)[fold_data.cases.brain]
    if shift.name in ("noisier", "suvr-high", "suvr-low", "cut"):
        assert off.max() < 1e-3, "noise, scale and field of view are the same for both"
    elif shift.moves:
        assert np.sqrt(np.square(off).mean()) < 0.03 * severity + 1e-5
    else:  # a blur mixes voxels inside and outside the mask
        assert np.sqrt(np.square(off).mean()) < 0.06 * severity + 1e-5


@every_shift
@pytest.mark.parametrize("seed", range(4))
def test_suvr_is_relative_to_the_reference_region_after_the_shift(volume, grid, shift: Shift, seed: int) -> None:
    """An independent reference region: the voxels of the phantom's, on its own grid, linearly interpolated."""
    share = atlas.resample(norms.reference(), BASE.affine, grid.affine, grid.shape)
    ratio = float((shifted(volume, grid, shift, seed) * share).sum() / (volume * share).sum())
    expected = 1 + shift.size if shift.name.startswith("suvr") else 1
    assert ratio == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_moves_by_three_millimetres(fold_data, seed: int) -> None:
    grid, mask = load_protocol("quick").lattice, None
    x, y, z = (o + grid.voxel_mm * np.arange(n) for o, n in zip(grid.origin, grid.shape, strict=True))
    distance = (x[:, None, None] - 5) ** 2 + (y[:, None] + 20) ** 2 + (z - 10) ** 2
    mask = np.exp(-distance / (2 * 12.0**2)).astype(np.float32)
    moved = shifted_mask(mask, grid, SHIFTS["translation"], seed)
    step = np.subtract(ndimage.center_of_mass(moved), ndimage.center_of_mass(mask)) * grid.voxel_mm
    assert np.linalg.norm(step) == pytest.approx(3.0, abs=0.02)
    scan = shifted(mask, grid, replace(SHIFTS["translation"], renormalised=False), seed)
    np.testing.assert_allclose(moved, scan, atol=1e-6)


@pytest.mark.parametrize(("name", "axis"), [("pitch", 0), ("yaw", 2)])
def test_rotations_turn_by_three_degrees_about_their_axis(name: str, axis: int) -> None:
    grid = load_protocol("quick").lattice
    centre = [o + grid.voxel_mm * (n - 1) / 2 for o, n in zip(grid.origin, grid.shape, strict=True)]
    arm = np.roll([0, 40, 0], axis)  # 40 mm from the centre, across the axis
    coordinates = np.meshgrid(
        *(o + grid.voxel_mm * np.arange(n) for o, n in zip(grid.origin, grid.shape, strict=True)), indexing="ij"
    )
    distance = sum((m - c - a) ** 2 for m, c, a in zip(coordinates, centre, arm, strict=True))
    ball = np.exp(-distance / (2 * 8.0**2)).astype(np.float32)
    senses = set()
    for seed in range(8):
        moved = shifted_mask(ball, grid, SHIFTS[name], seed)
        step = np.subtract(ndimage.center_of_mass(moved), ndimage.center_of_mass(ball)) * grid.voxel_mm
        assert abs(step[axis]) < 0.02
        assert np.linalg.norm(step) == pytest.approx(2 * 40 * np.sin(np.radians(1.5)), abs=0.03)
        senses.add(bool(step[(axis + 2) % 3] > 0))
    assert senses == {False, True}, "in both senses"


def test_the_added_noise_has_its_level_and_smoothness_on_every_grid() -> None:
    shift = SHIFTS["noisier"]
    plain = replace(shift, renormalised=False)
    for name in PROTOCOLS:
        grid = load_protocol(name).lattice
        ones = np.ones(grid.shape, dtype=np.float32)
        fields = np.stack([shifted(ones, grid, plain, seed) - 1 for seed in range(8)])
        assert fields.std() == pytest.approx(shift.size, rel=0.06)
        neighbours = np.corrcoef(fields[:, 1:].ravel(), fields[:, :-1].ravel())[0, 1]
        sigma = RESOLUTION_MM / 2.3548
        assert neighbours == pytest.approx(np.exp(-(grid.voxel_mm**2) / (4 * sigma**2)), abs=0.06)


def test_a_coarse_grid_samples_the_noise_of_a_fine_one() -> None:
    coarse = Grid((10, 12, 10), 8.0, (-40.0, -60.0, -30.0))
    fine = Grid((19, 23, 19), 4.0, coarse.origin)
    plain = replace(SHIFTS["noisier"], renormalised=False)
    fields = [shifted(np.ones(each.shape, dtype=np.float32), each, plain, 3) for each in (coarse, fine)]
    np.testing.assert_allclose(fields[0], fields[1][::2, ::2, ::2], atol=1e-5)


@given(squared=st.floats(0, 1))
def test_sharpening_amplifies_no_frequency_beyond_its_bound(squared: float) -> None:
    impulse = np.zeros((1, 1, 64), dtype=np.float32)
    impulse[0, 0, 30] = 1
    grid = Grid(impulse.shape, 1.0, (0.0, 0.0, 0.0))
    sharp = SHIFTS["sharper"].operation(impulse, grid, SHIFTS["sharper"].size, np.random.default_rng(0))
    gain = np.abs(fft.dctn(sharp)[0, 0]) / np.maximum(np.abs(fft.dctn(impulse)[0, 0]), 1e-2)
    assert gain.max() <= (1 + REGULARISATION) / (2 * REGULARISATION**0.5) + 0.01
    assert sharp.sum() == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module")
def at_resolution():
    """Two participants' noise-free images at 6, 8 and 10 mm FWHM, each relative to its own reference region."""
    phantom, images = Phantom(participants=2, patients=0), {}
    for fwhm in (6.0, 8.0, 10.0):
        kernels = [render._blur_matrix(n, fwhm / BASE.voxel_mm) for n in BASE.shape]
        for number in (1, 2):
            person = phantom._visit(f"sub-P{number:04d}", "ses-M000").person
            average, own = maps.maps(person.recipe), brain.draw_brain(person)
            image = render._deform(render._uptake(person, "ses-M000", own, average), person, own, average)
            image = render._separable(image, kernels)
            images[fwhm, number] = (image / image[average.reference].mean()).numpy()
    return images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fwhm", "protocol", "left"),
    [
        ("blurred", 10.0, "paper", 0.03),
        ("blurred", 10.0, "quick", 0.04),
        ("blurred", 10.0, "smoke", 0.10),
        ("sharper", 6.0, "paper", 0.09),
        ("sharper", 6.0, "quick", 0.08),
        ("sharper", 6.0, "smoke", 0.28),
    ],
)
def test_resolution_shifts_are_the_phantom_at_that_resolution(
    at_resolution, name: str, fwhm: float, protocol: str, left: float
) -> None:
    """The root mean square error in the brain is at most a share `left` of the change that a shift makes."""
    grid = load_protocol(protocol).lattice
    brain = atlas.brain_mask(grid)
    for number in (1, 2):
        usual, real = (_sample(at_resolution[f, number].copy(), BASE, grid) for f in (8.0, fwhm))
        error, change = (
            np.sqrt(np.square(image - real)[brain].mean()) for image in (shifted(usual, grid, SHIFTS[name], 0), usual)
        )
        assert error < left * change


def test_the_extent_follows_the_scan(fold_data, grid) -> None:
    scan = fold_data.cases.scans[0]
    higher = shifted_scan(scan, grid, SHIFTS["suvr-high"], 0)
    assert higher.extent[1] == pytest.approx(1.05 * scan.extent[1], rel=1e-5)
    assert shifted_scan(scan, grid, replace(SHIFTS["blurred"], size=0.0), 0).extent == scan.extent
    sharper, blurred = (shifted_scan(scan, grid, SHIFTS[name], 0).extent[1] for name in ("sharper", "blurred"))
    assert blurred < scan.extent[1] < sharper


def test_an_unknown_shift_is_an_error() -> None:
    with pytest.raises(InputError, match="translaton"):
        shift_named("translaton")


def test_filters_keep_constants() -> None:
    constant = np.full(GRID.shape, 1.5, dtype=np.float32)
    for name in ("blurred", "sharper", "motion", "translation", "scaling"):
        np.testing.assert_allclose(shifted(constant, GRID, SHIFTS[name], 1), constant, rtol=1e-4)
    np.testing.assert_allclose(_filtered(constant, GRID, np.ones_like), constant, rtol=1e-5)


@every_shift
def test_the_documentation_lists_the_shift(shift: Shift) -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "test-sets.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("|") and f"`{shift.name}`" in line.split("|")[1])
    scale, unit = {"mm FWHM": (1, " mm"), "mm": (1, " mm"), "mm and degrees": (1, " mm"), "degrees": (1, "°")}.get(
        shift.unit, (100, " %")
    )
    assert f"{scale * abs(shift.size):.3g}{unit}" in row.split("|")[2]
    assert shift.source.rpartition(": ")[2].split(",")[0].removesuffix(" 2025") in page
