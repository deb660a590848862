"""Shifted test sets: which scans they have, and what a shifted pair shares."""

from __future__ import annotations

import numpy as np
import pytest

from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import plan_fold
from uadbench.simulation.shifted_cases import ShiftedCases, altered_keys
from uadbench.simulation.shifts import SHIFTS
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import is_dementia


@pytest.fixture(scope="module")
def shifted(fold_data) -> ShiftedCases:
    return ShiftedCases(fold_data.cases)


def of_altered(shifted: ShiftedCases, altered: bool = True):
    return next(scan for scan in shifted.cases.scans if bool(shifted.sources(scan)) == altered)


def test_every_scan_is_shifted_and_some_altered_ones(shifted: ShiftedCases) -> None:
    section = shifted.cases.protocol.testsets.shifted
    assert list(section.shifts) == list(SHIFTS)
    assert sum(bool(shifted.sources(scan)) for scan in shifted.cases.scans) == section.scans == 4
    for altered in (False, True):
        scan = of_altered(shifted, altered)
        images = list(shifted.of(scan))
        assert len(images) == shifted.count(scan) == len(SHIFTS) * (3 if altered else 1)
        names = [(image.anomaly, image.severity) for image in images]
        own = [[(f"shifted:{n}", 0.0), (f"shifted:{n}:ad", 0.3), (f"shifted:{n}:unseen", 0.3)] for n in SHIFTS]
        assert names == [name for each in own for name in each[: 3 if altered else 1]]
        assert not any(is_dementia(name) for name, _ in names)


def test_which_scans_does_not_follow_their_order_or_number(shifted: ShiftedCases) -> None:
    protocol, keys = shifted.cases.protocol, [scan.key for scan in shifted.cases.scans]
    chosen = altered_keys(protocol, keys)
    assert altered_keys(protocol, keys[::-1]) == chosen
    assert altered_keys(protocol, [key for key in keys if key not in chosen or key == min(chosen)]) > {min(chosen)}


def test_a_pair_has_one_shift(shifted: ShiftedCases) -> None:
    """The ratio of the altered to the healthy image shows the anomaly, and no noise."""
    scan = of_altered(shifted)
    images = {image.anomaly: image for image in shifted.of(scan)}
    brain = shifted.cases.brain
    usual = next(case for case in shifted.sources(scan) if case.anomaly == "ad")
    for name, shift in SHIFTS.items():
        healthy, altered = images[f"shifted:{name}"], images[f"shifted:{name}:ad"]
        assert healthy.image is healthy.scan.data and altered.scan is healthy.scan
        seen = brain & (healthy.image > 0.3)
        ratio = altered.image[seen] / healthy.image[seen]
        assert np.median(ratio[altered.truth[seen] == 0]) == pytest.approx(1, abs=0.005)
        assert np.median(ratio[altered.truth[seen] == 1]) == pytest.approx(1 - usual.effective_reduction, abs=0.04)
        assert shift.moves or altered.truth is next(c.truth for c in shifted.sources(scan) if c.anomaly == "ad")


@pytest.mark.filterwarnings("ignore:invalid value")  # a mask cannot be derived from no reduction
def test_without_a_severity_a_shifted_pair_is_one_scan(fold_data) -> None:
    """The altered scan of severity 0 is the scan itself, bit for bit, and so is its shifted version."""
    protocol = fold_data.protocol
    section = protocol.testsets.shifted.model_copy(update={"severity": 0.0})
    testsets = protocol.testsets.model_copy(update={"severities": (0.0,), "shifted": section})
    none = SimulatedCases(protocol.model_copy(update={"testsets": testsets}), fold_data.cases.scans)
    shifted = ShiftedCases(none)
    scan = of_altered(ShiftedCases(fold_data.cases))
    for shift in shifted.shifts:
        healthy, *altered = shifted.images(scan, shift, shifted.sources(scan))
        assert [image.image.tobytes() for image in altered] == [healthy.image.tobytes()] * 2


def test_the_brain_mask_stays_and_the_truth_moves(shifted: ShiftedCases) -> None:
    scan = of_altered(shifted)
    plain = next(case.truth for case in shifted.sources(scan) if case.anomaly == "ad")
    for image in shifted.of(scan):
        if image.truth is None:
            continue
        assert (image.truth[~shifted.cases.brain] == -1).all()
        shift = SHIFTS[image.anomaly.split(":")[1]]
        if image.anomaly.endswith(":ad"):
            assert (image.truth != plain).any() == shift.moves
            assert 0.8 < (image.truth == 1).sum() / (plain == 1).sum() < 1.25


def test_the_weaker_side_of_a_dementia_is_truth_under_a_shift(fold_data) -> None:
    protocol = load_protocol("smoke", {"testsets.shifted.anomalies": "['lvppa']"})
    shifted = ShiftedCases(SimulatedCases(protocol, fold_data.cases.scans))
    scan = of_altered(shifted)
    sides = [np.array(np.split(image.truth == 1, 2)).sum((1, 2, 3)) for image in shifted.of(scan) if image.severity]
    assert len(sides) == len(SHIFTS)
    for left, right in sides:
        assert 0.8 < right / left < 1.25


def test_images_follow_seed_participant_session_and_shift_alone(fold_data, shifted: ShiftedCases) -> None:
    scan = of_altered(shifted)
    expected = [image.image.tobytes() for image in shifted.of(scan)]
    backwards = ShiftedCases(SimulatedCases(fold_data.protocol, fold_data.cases.scans[::-1]))
    list(backwards.of(fold_data.cases.scans[0]))
    assert [image.image.tobytes() for image in backwards.of(scan)] == expected
    fewer = load_protocol("smoke", {"testsets.shifted.shifts": '["motion", "noisier"]'})
    two = ShiftedCases(SimulatedCases(fewer, fold_data.cases.scans))
    images, own = ({each.anomaly: each.image.tobytes() for each in sets.of(scan)} for sets in (two, shifted))
    assert images == {name: own[name] for name in images} and len(images) == 6
    reseeded = load_protocol("smoke", {"testsets.seed": "1"})
    others = {image.anomaly: image.image.tobytes() for image in ShiftedCases(SimulatedCases(reseeded, [scan])).of(scan)}
    assert others["shifted:noisier"] != own["shifted:noisier"] and others["shifted:blurred"] == own["shifted:blurred"]


def test_shifts_are_part_of_the_fingerprint(fold_data) -> None:
    fewer = load_protocol("smoke", {"testsets.shifted.shifts": '["motion"]'})
    assert plan_fold(fold_data.cohort, fewer, 0).testset_recipe != fold_data.testset_recipe


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("testsets.shifted.severity", "0.2", "severity"),
        ("testsets.shifted.anomalies", '["ad", "ad"]', "unique"),
        ("testsets.shifted.shifts", '["motion", "motion"]', "unique"),
    ],
)
def test_a_protocol_with_an_impossible_section_is_refused(key: str, value: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load_protocol("smoke", {key: value})


def test_an_unknown_shift_is_refused_before_a_scan_is_read(fold_data) -> None:
    protocol = load_protocol("smoke", {"testsets.shifted.shifts": '["translaton"]'})
    with pytest.raises(InputError, match="translation"):
        plan_fold(fold_data.cohort, protocol, 0)


@pytest.mark.parametrize("name", ["hyper", "varied", "lvpa"])
def test_what_cannot_be_shifted_is_refused_before_a_scan_is_read(fold_data, name: str) -> None:
    protocol = load_protocol("smoke", {"testsets.shifted.anomalies": f'["{name}"]'})
    with pytest.raises(InputError, match=name):
        plan_fold(fold_data.cohort, protocol, 0)
