"""Tuning lesions: deterministic, unlike test lesions, and only on the scans that were given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uadbench.errors import Unfinished
from uadbench.protocols.schema import load_protocol
from uadbench.runtime.files import keyed_seed
from uadbench.simulation import testset, tuning
from uadbench.simulation.fields import CANVAS, forebrain
from uadbench.simulation.testset import SimulatedCases
from uadbench.simulation.tuning import LesionTruths, draw_lesion, lesion_truth, overlaps, tuning_case, tuning_cases
from uadbench.types import TUNING, UNSEEN, Scan, is_dementia

PROTOCOL = load_protocol("smoke")
TEST = [(f"sub-T{index}", "ses-M000") for index in range(4)]
keys = st.tuples(st.from_regex(r"sub-[A-Z0-9]{1,6}", fullmatch=True), st.sampled_from(["ses-M000", "ses-M012"]))


@pytest.fixture(scope="module")
def truths() -> LesionTruths:
    return LesionTruths.of(PROTOCOL, TEST)


def scan(key: tuple[str, str] = ("sub-V1", "ses-M000")) -> Scan:
    grid = PROTOCOL.lattice
    data = np.random.default_rng(keyed_seed(*key)).uniform(0.5, 1.5, grid.shape).astype(np.float32)
    return Scan(*key, data, grid.affine, (0.5, 1.5))


@given(keys, st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_a_lesion_is_a_pure_function_of_its_key(key: tuple[str, str], number: int) -> None:
    truths = LesionTruths.of(PROTOCOL, [])
    lesion = draw_lesion(PROTOCOL, key, number, truths)
    np.random.seed(number)
    tuning._soft.cache_clear()
    assert draw_lesion(PROTOCOL, key, number, truths) == lesion
    assert draw_lesion(PROTOCOL, key, number + 1, truths) != lesion


@given(keys, st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_lesions_are_within_the_limits(key: tuple[str, str], number: int) -> None:
    truths, section = LesionTruths.of(PROTOCOL, TEST[:1]), PROTOCOL.tuning
    lesion = draw_lesion(PROTOCOL, key, number, truths)
    assert section.depth.low <= lesion.depth <= section.depth.high
    assert section.volume_cm3.low <= lesion.volume_cm3 <= section.volume_cm3.high
    assert section.sigma_mm.low <= lesion.sigma_mm <= section.sigma_mm.high
    truth = lesion_truth(PROTOCOL, lesion)
    for mask in truths.masks.reshape(-1, *CANVAS.shape) > 0:
        assert 2 * (truth & mask).sum() <= section.most_dice * (truth.sum() + mask.sum())
    reduction = tuning_case(PROTOCOL, scan(), lesion).reduction
    assert reduction.min() >= 0 and reduction.max() <= lesion.depth
    reach = ndimage.binary_dilation(forebrain(), iterations=8)  # 32 mm, four SDs
    assert not truth[~reach].any()


@given(st.integers(0, 2**31 - 2), st.floats(2, 8), st.floats(30, 200))
@settings(max_examples=8, deadline=None)
def test_without_depth_the_scan_is_the_healthy_one(seed: int, sigma_mm: float, volume_cm3: float) -> None:
    lesion = tuning.TuningLesion(0.0, volume_cm3, 9.0, sigma_mm, seed)
    case = tuning_case(PROTOCOL, scan(), lesion)
    assert case.altered.tobytes() == case.scan.data.tobytes()
    deeper = tuning_case(PROTOCOL, scan(), replace(lesion, depth=0.3))
    np.testing.assert_array_equal(deeper.truth, case.truth)
    assert (deeper.altered <= deeper.scan.data).all()


def test_cases_are_lazy_and_independent_of_the_other_scans(truths: LesionTruths) -> None:
    scans = [scan((f"sub-V{index}", "ses-M000")) for index in range(3)]
    read = []

    def reading() -> object:
        for each in scans:
            read.append(each.key)
            yield each

    cases = tuning_cases(PROTOCOL, reading(), truths)  # type: ignore[arg-type]
    first = next(cases)
    assert read == [scans[0].key] and first.anomaly == TUNING and not is_dementia(TUNING)
    rest = [first, *cases]
    assert [case.scan.key for case in rest] == [key for each in scans for key in [each.key] * PROTOCOL.tuning.cases]
    alone = list(tuning_cases(PROTOCOL, scans[2:], truths))
    for one, other in zip(rest[-len(alone) :], alone, strict=True):
        np.testing.assert_array_equal(one.reduction, other.reduction)


@given(st.lists(keys, min_size=1, max_size=4, unique=True))
@settings(max_examples=10, deadline=None)
def test_seeds_differ_from_those_of_every_test_set(people: list[tuple[str, str]]) -> None:
    used: dict[str, list[int]] = {"test": [], "tuning": []}
    now = "test"

    def recorded(*parts: object) -> int:
        used[now].append(keyed_seed(*parts))
        return used[now][-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testset, "keyed_seed", recorded)
        patch.setattr(tuning, "keyed_seed", recorded)
        none = LesionTruths.of(PROTOCOL, [])
        for key in people:
            now = "test"
            testset.draw(PROTOCOL, key)
            now = "tuning"
            draw_lesion(PROTOCOL, key, 0, none)
    assert used["test"] and used["tuning"]
    assert not set(used["test"]) & set(used["tuning"])


def test_overlaps_are_those_of_the_truths_on_the_canvas(truths: LesionTruths) -> None:
    assert truths.names == (*PROTOCOL.testsets.anomalies, *[UNSEEN] * len(TEST))
    validation = [("sub-V1", "ses-M000"), ("sub-V2", "ses-M000")]
    found = overlaps(PROTOCOL, validation, truths)
    assert list(found) == [*PROTOCOL.testsets.anomalies, UNSEEN]
    assert all(0 <= dice.mean <= dice.largest <= PROTOCOL.tuning.most_dice for dice in found.values())
    blob = next(c for c in SimulatedCases(PROTOCOL, []).cases(scan(TEST[0])) if c.anomaly == UNSEEN)
    on_canvas = truths.masks[truths.names.index(UNSEEN)].sum() * CANVAS.voxel_mm**3
    assert on_canvas == pytest.approx((blob.truth == 1).sum() * PROTOCOL.grid.voxel_mm**3, rel=0.15)


def test_a_limit_that_no_lesion_meets_is_reported() -> None:
    protocol = load_protocol("smoke", {"tuning.most_dice": "0.001"})
    everything = LesionTruths((UNSEEN,), forebrain().ravel()[None].astype(np.float32))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Unfinished, match="tuning lesion"):
        patch.setattr(tuning, "ATTEMPTS", 3)
        draw_lesion(protocol, ("sub-V1", "ses-M000"), 0, everything)
