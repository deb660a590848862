"""Dementias as they vary: connected regions of one table, on the side drawn, warped, and the same every time."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uadbench.errors import Unfinished
from uadbench.simulation import varied
from uadbench.simulation.fields import CANVAS, forebrain, smooth_field
from uadbench.simulation.regions import DEMENTIAS, dementia
from uadbench.simulation.varied import LEAST_CM3, Variation, draw_variation, variation_mask
from uadbench.space import atlas
from uadbench.types import Grid

SEVERITY, SIGMA, WARP = (0.1, 0.5), (3.0, 8.0), 4.0
SMOKE = Grid((24, 32, 24), 7.0, (-81.5, -124.5, -71.5))


def draw(seed: int, dementias: tuple[str, ...] = DEMENTIAS) -> Variation:
    return draw_variation(np.random.default_rng(seed), dementias, SEVERITY, SIGMA, WARP)


@pytest.fixture(scope="module")
def drawn() -> list[Variation]:
    return [draw(seed) for seed in range(30)]


@pytest.fixture(scope="module")
def places() -> list[np.ndarray]:
    """The voxels of AAL3, as whole numbers, at the centres of the canvas along each axis."""
    _, affine = atlas.aal3()
    return [np.rint(CANVAS.origin[a] - affine[a, 3]).astype(int) + 4 * np.arange(CANVAS.shape[a]) for a in range(3)]


@pytest.fixture(scope="module")
def near() -> set[frozenset[str]]:
    """Pairs of regions of any dementia whose left voxels are at most 4 mm apart: one dilated touches the other."""
    labels, _ = atlas.aal3()
    names = sorted({region.region for name in DEMENTIAS for region in dementia(name).regions})
    boxes = ndimage.find_objects(labels)
    pairs = set()
    for name in names:
        number = atlas.region_ids()[f"{name}_L"]
        box = tuple(slice(max(0, part.start - 5), part.stop + 5) for part in boxes[number - 1])
        grown = ndimage.binary_dilation(labels[box] == number, iterations=4)
        touched = set(np.unique(labels[box][grown]).tolist())
        pairs |= {frozenset((name, n)) for n in names if n != name and atlas.region_ids()[f"{n}_L"] in touched}
    return pairs


def hangs_together(names: set[str], near: set[frozenset[str]]) -> bool:
    reached, edge = set(), {min(names)}
    while edge:
        reached |= edge
        edge = {n for n in names - reached if any(frozenset((n, r)) in near for r in reached)}
    return reached == names


def test_regions_are_those_of_the_table_on_the_side_drawn(drawn: list[Variation]) -> None:
    sides = set()
    for variation in drawn:
        table = {region.region for region in dementia(variation.dementia).regions}
        of_side = {side: {r[:-2] for r in variation.regions if r.endswith(side)} for side in ("_L", "_R")}
        assert len(of_side["_L"]) + len(of_side["_R"]) == len(set(variation.regions)) == len(variation.regions)
        assert of_side["_L"] | of_side["_R"] <= table
        here = {side for side, names in of_side.items() if names}
        assert len(here) == 1 or of_side["_L"] == of_side["_R"]
        sides.add(frozenset(here))
    assert len(sides) == 3
    assert {variation.dementia for variation in drawn} == set(DEMENTIAS)
    assert {v.dementia for v in (draw(seed, ("pca", "ad")) for seed in range(8))} == {"pca", "ad"}


def test_regions_hang_together(drawn: list[Variation], near: set[frozenset[str]]) -> None:
    for variation in drawn:
        assert hangs_together({region[:-2] for region in variation.regions}, near)
    table = sorted({region.region for region in dementia("pca").regions})
    apart = [pair for pair in combinations(table, 2) if not hangs_together(set(pair), near)]
    assert len(apart) > 20, "regions drawn without regard to their neighbours would be found"
    sizes = {len({region[:-2] for region in v.regions}) for v in drawn}
    assert len(sizes) > 4, "from one region to all"


def test_with_one_side_there_is_nothing_of_the_other(drawn: list[Variation], places: list[np.ndarray]) -> None:
    names = {number: name for name, number in atlas.region_ids().items()}
    one_sided = [v for v in drawn if len({region[-1] for region in v.regions}) == 1]
    for variation in one_sided[:10]:
        plain = variation_mask(replace(variation, warp_mm=0.0, sigma_mm=0.0), CANVAS) > 0.5
        at = np.argwhere(plain)
        found = atlas.aal3()[0][tuple(places[axis][at[:, axis]] for axis in range(3))]
        assert {names[number] for number in np.unique(found)} == set(variation.regions)
        x = (CANVAS.origin[0] + CANVAS.voxel_mm * np.argwhere(variation_mask(variation, CANVAS) > 0.5)[:, 0]).mean()
        assert x < -5 if variation.regions[0].endswith("_L") else x > 5


def test_what_is_drawn_is_within_its_ranges(drawn: list[Variation]) -> None:
    severities, sigmas = np.array([(v.severity, v.sigma_mm) for v in drawn]).T
    for values, (low, high) in ((severities, SEVERITY), (sigmas, SIGMA)):
        assert (values >= low).all() and (values <= high).all()
        assert len(np.unique(values)) > 0.9 * len(values)
        assert np.ptp(values) > 0.7 * (high - low)
    assert len({v.warp_seed for v in drawn}) == len(drawn)
    assert {v.warp_mm for v in drawn} == {WARP}


@given(st.integers(0, 2**63))
@settings(max_examples=5, deadline=None)
def test_a_draw_is_a_pure_function_of_the_generator(seed: int) -> None:
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    variation = draw_variation(first, DEMENTIAS, SEVERITY, SIGMA, WARP)
    varied._soft.cache_clear()
    assert draw_variation(second, DEMENTIAS, SEVERITY, SIGMA, WARP) == variation
    assert first.bit_generator.state == second.bit_generator.state
    assert draw_variation(first, DEMENTIAS, SEVERITY, SIGMA, WARP) != variation


@pytest.mark.parametrize("seed", range(3))
def test_a_stored_draw_gives_the_same_mask(seed: int) -> None:
    variation = draw(seed)
    before = variation_mask(variation, SMOKE)
    varied._soft.cache_clear()
    stored = json.loads(json.dumps(asdict(variation)))
    again = Variation(**{**stored, "regions": tuple(stored["regions"])})
    assert again == variation
    after = variation_mask(again, SMOKE)
    np.testing.assert_array_equal(before.view(np.uint32), after.view(np.uint32))
    assert before.dtype == np.float32 and before.shape == SMOKE.shape
    assert before.min() == 0 and 0.5 < before.max() <= 1
    other = variation_mask(replace(variation, warp_seed=variation.warp_seed + 1000), SMOKE)
    assert not np.array_equal(before, other)


def test_there_is_enough_to_be_found(drawn: list[Variation]) -> None:
    brain = atlas.brain_mask(SMOKE)
    for variation in drawn[:10]:
        found = (variation_mask(variation, CANVAS) > 0.5) & forebrain()
        assert found.sum() * 0.064 >= LEAST_CM3
        assert ((variation_mask(variation, SMOKE) > 0.5) & brain).sum() * 0.343 >= 0.7 * LEAST_CM3


def test_without_warp_it_is_the_regions_softened(drawn: list[Variation], places: list[np.ndarray]) -> None:
    labels, _ = atlas.aal3()
    for variation in drawn[:4]:
        within = [(place >= 0) & (place < size) for place, size in zip(places, labels.shape, strict=True)]
        chosen = np.isin(labels, [atlas.region_ids()[name] for name in variation.regions])
        plain = np.zeros(CANVAS.shape)
        plain[np.ix_(*within)] = chosen[np.ix_(*[place[w] for place, w in zip(places, within, strict=True)])]
        found = variation_mask(replace(variation, warp_mm=0.0, sigma_mm=0.0), CANVAS)
        np.testing.assert_array_equal(found, plain)
        expected = ndimage.gaussian_filter(plain, variation.sigma_mm / CANVAS.voxel_mm, mode="constant")
        np.testing.assert_allclose(variation_mask(replace(variation, warp_mm=0.0), CANVAS), expected, atol=1e-6)


def test_the_warp_moves_each_voxel_by_a_smooth_field(drawn: list[Variation]) -> None:
    labels, affine = atlas.aal3()
    for variation in drawn[:3]:
        moved = [WARP * smooth_field(variation.warp_seed + axis, 20.0).astype(float) for axis in range(3)]
        steps = [CANVAS.origin[axis] + CANVAS.voxel_mm * np.arange(CANVAS.shape[axis]) for axis in range(3)]
        mm = np.stack(np.meshgrid(*steps, indexing="ij")) + moved
        at = mm - affine[:3, 3][:, None, None, None]
        chosen = np.isin(labels, [atlas.region_ids()[name] for name in variation.regions]).astype(np.uint8)
        expected = ndimage.map_coordinates(chosen, at, order=0, mode="constant") > 0
        found = variation_mask(replace(variation, sigma_mm=0.0), CANVAS) > 0.5
        plain = variation_mask(replace(variation, sigma_mm=0.0, warp_mm=0.0), CANVAS) > 0.5
        assert (found != expected).sum() <= 0.002 * expected.sum()
        assert (plain != expected).sum() > 0.1 * expected.sum(), "the warp is seen"
        assert found.sum() == pytest.approx(plain.sum(), rel=0.3)


def test_what_cannot_be_drawn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varied, "ATTEMPTS", 2)
    monkeypatch.setattr(varied, "LEAST_CM3", 2000.0)
    with pytest.raises(Unfinished, match="ad, pca of at least 2000 cm3"):
        draw(0, ("ad", "pca"))
