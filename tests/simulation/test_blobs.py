"""Blobs and the canvas: a draw is the same mask every time, in no dementia's mask and not in the cerebellum."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from uadbench.errors import Unfinished
from uadbench.simulation import blobs
from uadbench.simulation.blobs import Blob, blob_mask, draw_blob
from uadbench.simulation.fields import CANVAS, connected_to, onto, smooth_field, soften
from uadbench.simulation.hypometabolism import smoothed_support
from uadbench.simulation.regions import DEMENTIAS
from uadbench.space import atlas
from uadbench.types import Grid, Mask

VOLUME = (40.0, 250.0)
CM3 = 0.064  # of a voxel of the canvas
GRIDS = {
    2: Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0)),
    4: Grid((40, 48, 40), 4.0, (-79.0, -110.0, -69.0)),
    7: Grid((24, 32, 24), 7.0, (-81.5, -124.5, -71.5)),
}


def draw(seed: int, most_overlap: float = 0.5) -> Blob:
    return draw_blob(np.random.default_rng(seed), VOLUME, most_overlap, DEMENTIAS)


@cache
def as_drawn(blob: Blob) -> Mask:
    """The blob on the canvas before it is softened."""
    return blob_mask(blob, CANVAS, 0.0) > 0.5


@pytest.fixture(scope="module")
def drawn() -> list[Blob]:
    return [draw(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """AAL3 at the voxel centres of the canvas, where the two lattices coincide."""
    volume, affine = atlas.aal3()
    first = np.rint(np.array(CANVAS.origin) - affine[:3, 3]).astype(int)
    found = np.zeros(CANVAS.shape, dtype=int)
    places = [first[axis] + 4 * np.arange(count) for axis, count in enumerate(CANVAS.shape)]
    within = [(place >= 0) & (place < size) for place, size in zip(places, volume.shape, strict=True)]
    found[np.ix_(*within)] = volume[np.ix_(*[place[w] for place, w in zip(places, within, strict=True)])]
    return found


@given(st.integers(0, 2**63))
@settings(max_examples=5, deadline=None)
def test_a_draw_is_a_pure_function_of_the_generator(seed: int) -> None:
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    blob = draw_blob(first, VOLUME, 0.5, DEMENTIAS)
    np.random.seed(seed % 2**32)
    blobs._hard.cache_clear()
    assert draw_blob(second, VOLUME, 0.5, DEMENTIAS) == blob
    assert first.bit_generator.state == second.bit_generator.state
    assert draw_blob(first, VOLUME, 0.5, DEMENTIAS) != blob, "a generator that has moved on draws another"


@pytest.mark.parametrize("seed", range(3))
def test_a_stored_draw_gives_the_same_mask(seed: int) -> None:
    blob = draw(seed)
    before = blob_mask(blob, GRIDS[4], 5.0)
    blobs._hard.cache_clear()
    stored = json.loads(json.dumps(asdict(blob)))
    again = Blob(**{**stored, "centre": tuple(stored["centre"]), "axes": tuple(stored["axes"])})
    assert again == blob
    after = blob_mask(again, GRIDS[4], 5.0)
    np.testing.assert_array_equal(before.view(np.uint32), after.view(np.uint32))
    assert before.dtype == np.float32 and before.shape == GRIDS[4].shape
    assert before.min() == 0 and 0.5 < before.max() <= 1


def test_no_dementias_truth_holds_a_blob(drawn: list[Blob]) -> None:
    masks = [smoothed_support(name, CANVAS.affine, CANVAS.shape) > 0.5 for name in DEMENTIAS]
    shares = [(as_drawn(blob) & mask).sum() / as_drawn(blob).sum() for mask in masks for blob in drawn]
    assert max(shares) <= 0.5
    assert max(shares) > 0.2, "dementias are not avoided, only not repeated"
    for seed in range(3):
        blob = as_drawn(draw(seed, 0.1))
        assert all((blob & mask).sum() <= 0.1 * blob.sum() for mask in masks)


def test_a_blob_is_in_one_piece_around_its_centre(drawn: list[Blob]) -> None:
    for blob in drawn:
        mask = as_drawn(blob)
        assert ndimage.label(mask)[1] == 1
        centre = np.rint((np.array(blob.centre) - CANVAS.origin) / CANVAS.voxel_mm).astype(int)
        assert mask[tuple(centre)]


def test_a_blob_starts_in_grey_matter_and_leaves_the_cerebellum_alone(drawn: list[Blob], labels: np.ndarray) -> None:
    ids = atlas.region_ids()
    cerebellum = np.isin(labels, range(ids["Cerebellum_Crus1_L"], ids["Vermis_10"] + 1))
    assert cerebellum.sum() > 2000
    grey, affine = atlas.tissue("grey")
    for blob in drawn:
        mask = as_drawn(blob)
        # one voxel at the very tip of the cerebellum counts as forebrain
        assert (mask & cerebellum).sum() <= 1
        assert not (mask & ~atlas.brain_mask(CANVAS)).any()
        place = np.rint(np.linalg.solve(affine, [*blob.centre, 1.0])[:3]).astype(int)
        assert grey[tuple(place)] > 0.5


def test_volumes_and_axes_are_as_asked_for(drawn: list[Blob]) -> None:
    for blob in drawn:
        assert VOLUME[0] <= blob.volume_cm3 <= VOLUME[1]
        kept = as_drawn(blob).sum() * CM3
        assert 15.0 <= kept <= blob.volume_cm3 + CM3
        assert np.prod(blob.axes) == pytest.approx(1, abs=1e-3)
    assert len({blob.volume_cm3 for blob in drawn}) == len({blob.field_seed for blob in drawn}) == len(drawn)
    assert draw_blob(np.random.default_rng(1), (100.0, 100.0), 1.0, DEMENTIAS).volume_cm3 == 100


def test_the_logarithm_of_the_volume_is_uniform() -> None:
    volumes = [draw_blob(np.random.default_rng(seed), (30.0, 900.0), 1.0, DEMENTIAS).volume_cm3 for seed in range(30)]
    assert stats.kstest(np.log(volumes), stats.uniform(np.log(30), np.log(30)).cdf).pvalue > 0.05
    assert stats.kstest(volumes, stats.uniform(30, 870).cdf).pvalue < 1e-3


def test_a_blob_is_one_anomaly_whatever_the_grid(drawn: list[Blob]) -> None:
    for blob in drawn[:10]:
        truths = {}
        for mm, grid in GRIDS.items():
            smoothed = blob_mask(blob, grid, 5.0)
            truths[mm] = (smoothed > 0.5).sum() * mm**3 / 1000
            assert smoothed.sum() * mm**3 / 1000 == pytest.approx(as_drawn(blob).sum() * CM3, rel=0.05)
        assert truths[4] == pytest.approx(truths[2], rel=0.1)
        assert truths[7] == pytest.approx(truths[2], rel=0.1)


def test_what_cannot_be_drawn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "ATTEMPTS", 3)
    with pytest.raises(Unfinished, match=r"blob of .* with at most 1% in a dementia's truth"):
        draw_blob(np.random.default_rng(0), (1000.0, 1000.0), 0.01, DEMENTIAS)
    with pytest.raises(Unfinished):
        draw_blob(np.random.default_rng(0), (1.0, 5.0), 1.0, DEMENTIAS)


@pytest.mark.parametrize(("seed", "scale"), [(0, 12.0), (7, 20.0)])
def test_a_smooth_field_is_scipys(seed: int, scale: float) -> None:
    found = smooth_field(seed, scale)
    white = np.random.default_rng(seed).standard_normal(CANVAS.shape, dtype=np.float32).astype(float)
    expected = ndimage.gaussian_filter(white, scale / CANVAS.voxel_mm, mode="wrap")
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.dtype == np.float32
    assert float(found.mean(dtype=float)) == pytest.approx(0, abs=1e-5)
    assert float(found.std(dtype=float)) == pytest.approx(1, abs=1e-4)


def test_a_smooth_field_is_seeded_and_smooth() -> None:
    field = smooth_field(3, 12.0)
    np.testing.assert_array_equal(field, smooth_field(3, 12.0))
    assert abs(np.corrcoef(field.ravel(), smooth_field(4, 12.0).ravel())[0, 1]) < 0.3
    for axis in range(3):
        # of smoothed white noise, over the whole torus: exp(-d^2 / 4 sigma^2)
        for lag in (1, 3):
            shifted = np.roll(field, lag, axis)
            assert np.mean(field * shifted) == pytest.approx(np.exp(-((lag / 3.0) ** 2) / 4), abs=0.06)


def test_connected_to_keeps_the_piece_of_a_voxel() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[0, 0, :2] = mask[1, 1, 2] = mask[4, 4, 4] = True  # (1, 1, 2) touches the first piece at an edge only
    piece = connected_to(mask, (0, 0, 0))
    assert np.argwhere(piece).tolist() == [[0, 0, 0], [0, 0, 1]]
    assert np.argwhere(connected_to(mask, (4, 4, 4))).tolist() == [[4, 4, 4]]


def test_soften_and_onto_are_scipys() -> None:
    mask = as_drawn(draw(0))
    smoothed = soften(mask, 6.0)
    expected = ndimage.gaussian_filter(mask.astype(np.float64), 6.0 / CANVAS.voxel_mm, mode="constant")
    np.testing.assert_allclose(smoothed, expected, atol=1e-6)
    np.testing.assert_array_equal(onto(smoothed, CANVAS), smoothed)
    grid = GRIDS[7]
    steps = [grid.origin[axis] + grid.voxel_mm * np.arange(grid.shape[axis]) for axis in range(3)]
    mm = np.stack(np.meshgrid(*steps, indexing="ij"))
    places = (mm - np.array(CANVAS.origin)[:, None, None, None]) / CANVAS.voxel_mm
    linear = ndimage.map_coordinates(smoothed.astype(np.float64), places, order=1, mode="constant")
    np.testing.assert_allclose(onto(smoothed, grid), linear, atol=1e-5)
