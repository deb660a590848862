"""Cases: what is simulated on a scan, what is drawn for it, and the fingerprint of it all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uadbench.cohorts.io.export import export_caps
from uadbench.cohorts.phantom import Phantom
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import TESTING, TRAINING, Selection, plan_fold
from uadbench.runtime.progress import Silent
from uadbench.simulation import blobs, hypometabolism, varied
from uadbench.simulation.files import simulate
from uadbench.simulation.testset import Draws, SimulatedCases
from uadbench.types import Case, is_dementia

SEVERITIES = (0.3, 0.5)


@pytest.fixture(scope="module")
def made(fold_data) -> list[Case]:
    """The cases of the first scan."""
    return list(fold_data.cases.cases(fold_data.cases.scans[0]))


def bits(case: Case) -> tuple[bytes, bytes, str, float]:
    return case.altered.tobytes(), case.truth.tobytes(), case.anomaly, case.severity


def test_cases_come_in_their_order(fold_data, made: list[Case]) -> None:
    names = [(anomaly, severity) for anomaly in fold_data.protocol.testsets.anomalies for severity in SEVERITIES]
    drawn = [variation.severity for variation in fold_data.cases.draws(fold_data.cases.scans[0]).variations]
    names += [("unseen", severity) for severity in SEVERITIES]
    names += [("varied", severity) for severity in drawn]
    names += [("hyper", 0.3)]
    assert [(case.anomaly, case.severity) for case in made] == names
    assert len(made) == 6 * 2 + 2 + 2 + 1
    assert len(set(drawn)) == 2


def test_cases_are_what_they_say(fold_data, made: list[Case]) -> None:
    cases, scan = fold_data.cases, fold_data.cases.scans[0]
    for case in made:
        np.testing.assert_allclose(case.altered, scan.data * (1 - case.reduction), atol=1e-6)
        untouched = case.reduction == 0
        assert untouched.any()
        assert np.array_equal(case.altered[untouched].view(np.uint32), scan.data[untouched].view(np.uint32))
        assert 0.4 * case.severity < abs(case.effective_reduction) <= case.severity
        assert (case.effective_reduction < 0) == (case.anomaly == "hyper")
        assert case.intensity == cases.intensity(scan)
        assert set(np.unique(case.truth)) == {-1, 0, 1}
        assert (case.truth[~cases.brain] == -1).all()
        lowered = case.reduction / np.float32(case.severity)
        support = np.abs(lowered)
        if is_dementia(case.anomaly):
            grid = fold_data.protocol.lattice
            support = hypometabolism.smoothed_support(case.anomaly, grid.affine, grid.shape)
        expected = np.where(support > 0.5, 1, np.where(np.abs(lowered) > 0.05, -1, 0))
        assert (case.truth != np.where(cases.brain, expected, -1)).mean() < 1e-4, "up to rounding at the two levels"


def test_unseen_and_hyper_share_their_truth(fold_data, made: list[Case]) -> None:
    blob = [case for case in made if case.anomaly in ("unseen", "hyper")]
    assert len(blob) == 3 and len({id(case.truth) for case in blob}) == 1
    assert np.array_equal(blob[0].reduction, -blob[2].reduction)  # both at 30 %
    others = [case.truth for case in made if case.anomaly not in ("unseen", "hyper")]
    assert all(not np.array_equal(truth, blob[0].truth) for truth in others)
    for case, following in zip(made[::2], made[1:12:2], strict=False):
        assert case.truth is following.truth, "a dementia's truth is one object, too"


def test_hyper_raises_uptake(fold_data, made: list[Case]) -> None:
    hyper = made[-1]
    healthy = fold_data.cases.scans[0].data
    assert (hyper.altered >= healthy).all()
    inside = hyper.truth == 1
    assert (healthy[inside] > 0).all() and (hyper.altered[inside] > healthy[inside]).all()
    assert -0.3 <= hyper.effective_reduction < -0.15
    for case in made[:-1]:
        assert (case.altered <= healthy).all() and (case.altered[case.truth == 1] < healthy[case.truth == 1]).all()


def test_the_altered_scan_keeps_the_healthy_scale(fold_data) -> None:
    """Min-max scaling of the altered scan itself would betray it wherever the maximum lies in the mask."""
    minmax = SimulatedCases(load_protocol("smoke", {"intensity.kind": "'minmax'"}), fold_data.cases.scans)
    scan = minmax.scans[0]
    for case in minmax.cases(scan):
        assert case.intensity.offset == scan.extent[0]
        assert case.intensity.scale == scan.extent[1] - scan.extent[0]


def test_stored_draws_give_the_same_cases(fold_data, made: list[Case]) -> None:
    cases, scan = fold_data.cases, fold_data.cases.scans[0]
    drawn = cases.draws(scan)
    stored = json.loads(json.dumps(drawn.to_json()))
    again = Draws.from_json(stored)
    assert again == drawn
    assert again.to_json() == drawn.to_json()
    blobs._hard.cache_clear()
    varied._soft.cache_clear()
    fresh = SimulatedCases(fold_data.protocol, [scan])
    assert [bits(case) for case in fresh.cases(scan, draws=again)] == [bits(case) for case in made]
    other = [bits(case) for case in fresh.cases(scan, draws=cases.draws(cases.scans[1]))]
    differ = [mine != theirs for mine, theirs in zip((bits(case) for case in made), other, strict=True)]
    assert differ == [False] * 12 + [True] * 5, "what is stored is used, and dementias are not drawn"


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [("unseen", None, KeyError), ("varied", None, KeyError), ("unseen", {"centre": [0], "axes": [1]}, TypeError)],
)
def test_stored_draws_that_do_not_fit_are_an_error(fold_data, key: str, value, error: type[Exception]) -> None:
    stored = fold_data.cases.draws(fold_data.cases.scans[0]).to_json()
    changed = {name: content for name, content in stored.items() if name != key}
    with pytest.raises(error):
        Draws.from_json(changed if value is None else {**changed, key: value})


def test_draws_follow_participant_session_and_seed_alone(fold_data) -> None:
    cases, scan = fold_data.cases, fold_data.cases.scans[0]
    drawn = cases.draws(scan)
    for other in (replace(scan, participant="sub-other"), replace(scan, session="ses-M012")):
        found = SimulatedCases(fold_data.protocol, [other]).draws(other)
        assert found.blob != drawn.blob and not set(found.variations) & set(drawn.variations)
    changes = {
        "testsets.severities": "[0.1, 0.3]",
        "grid.voxel_mm": "6.0",
        "testsets.hyper.severity": "0.9",
        "testsets.sigma_mm": "4.0",
        "detection.top": "0.05",
    }
    backwards = SimulatedCases(load_protocol("smoke", changes), fold_data.cases.scans[::-1])
    assert [backwards.draws(s) for s in (cases.scans[1], scan)] == [cases.draws(cases.scans[1]), drawn]
    more = SimulatedCases(load_protocol("smoke", {"testsets.varied.draws": "3"}), [scan]).draws(scan)
    assert more.blob == drawn.blob and more.variations[:2] == drawn.variations and len(more.variations) == 3
    reseeded = SimulatedCases(load_protocol("smoke", {"testsets.seed": "1"}), [scan]).draws(scan)
    assert reseeded.blob != drawn.blob and not set(reseeded.variations) & set(drawn.variations)


def test_everybody_has_draws_of_his_own(fold_data) -> None:
    drawn = [fold_data.cases.draws(scan) for scan in fold_data.cases.scans]
    assert len({draws.blob for draws in drawn}) == len(drawn) == 8
    assert len({variation for draws in drawn for variation in draws.variations}) == 2 * len(drawn)


def test_the_fingerprint_follows_what_matters(fold_data) -> None:
    recipe = fold_data.testset_recipe
    assert recipe == plan_fold(fold_data.cohort, fold_data.protocol, 0, Silent()).testset_recipe
    assert recipe == plan_fold(fold_data.cohort, fold_data.protocol, 1, Silent()).testset_recipe
    assert recipe != plan_fold(Phantom(seed=7), fold_data.protocol, 0, Silent()).testset_recipe
    for part in ("test", "patients"):
        fewer = {**fold_data.rows, part: fold_data.rows[part][1:]}
        assert recipe != replace(fold_data, rows=fewer).testset_recipe
    fewer = {**fold_data.rows, "train": fold_data.rows["train"][1:]}
    assert recipe == replace(fold_data, rows=fewer).testset_recipe


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("testsets.positive", "0.6", True),
        ("testsets.seed", "2024", True),
        ("testsets.varied.draws", "3", True),
        ("testsets.varied.warp_mm", "5.0", True),
        ("testsets.unseen.most_overlap", "0.4", True),
        ("testsets.hyper.severity", "0.4", True),
        ("ranking.severities", "[0.5]", False),
        ("detection.top", "0.02", False),
    ],
)
def test_the_fingerprint_follows_the_protocol_where_it_matters(fold_data, key: str, value: str, changed: bool) -> None:
    protocol = load_protocol("smoke", {key: value})
    assert (fold_data.testset_recipe != replace(fold_data, protocol=protocol).testset_recipe) == changed


def test_the_sketch_is_of_the_cases_themselves(fold_data, made: list[Case]) -> None:
    sketch = fold_data.cases.sketch
    anomalies = {*fold_data.protocol.testsets.anomalies, "unseen", "varied"}
    for anomaly in anomalies:
        assert sketch[f"{anomaly}.truth_voxels"] > 0
        assert 0.4 < sketch[f"{anomaly}.effective_reduction"] <= 1
    assert {name.split(".")[0] for name in sketch if "." in name} == anomalies
    ad = made[0]
    assert sketch["ad.truth_voxels"] == (ad.truth == 1).sum()
    assert sketch["ad.effective_reduction"] == pytest.approx(ad.effective_reduction / ad.severity, rel=1e-4)
    every = [case for scan in fold_data.cases.scans for case in fold_data.cases.cases(scan) if case.anomaly == "varied"]
    voxels = np.mean([(case.truth == 1).sum() for case in every])
    assert sketch["varied.truth_voxels"] == pytest.approx(voxels, rel=1e-5)
    effective = np.mean([case.effective_reduction / case.severity for case in every])
    assert sketch["varied.effective_reduction"] == pytest.approx(effective, rel=1e-4)


# altered scans that another tool has written


@pytest.fixture(scope="module")
def altered_tree(fold_data, tmp_path_factory) -> Path:
    """The first test participant's scan with Alzheimer's disease at 30 and 50 %, as `uadbench simulate` writes it."""
    folder = tmp_path_factory.mktemp("altered")
    export_caps(fold_data.cohort, fold_data.rows["test"][:1], folder / "caps", Silent())
    simulate(folder / "caps", ["ad"], [0.3, 0.5], folder / "simulated", Silent())
    return folder / "simulated"


@pytest.mark.slow
def test_given_scans_are_test_sets_of_their_own(fold_data, made: list[Case], altered_tree: Path) -> None:
    there = plan_fold(fold_data.cohort, fold_data.protocol, 0, selection=Selection(simulated=altered_tree))
    first, second = there.cases.scans[:2]
    cases = list(there.cases.cases(first))
    assert [bits(case) for case in cases[: len(made)]] == [bits(case) for case in made]
    given = cases[len(made) :]
    assert [(case.anomaly, case.severity) for case in given] == [("given-ad", 0.3), ("given-ad", 0.5)]
    assert not is_dementia("given-ad") and is_dementia("ad")
    for case, own in zip(given, made[:2], strict=True):
        assert (own.anomaly, own.severity) == ("ad", case.severity)
        inside = fold_data.cases.brain
        assert np.abs(case.reduction - own.reduction)[inside].mean() < 0.01
        np.testing.assert_allclose(case.altered[inside], own.altered[inside], atol=0.05)
        assert (case.truth == own.truth).mean() > 0.98
        assert case.effective_reduction == pytest.approx(own.effective_reduction, rel=0.05)
        assert case.intensity == own.intensity
    assert len(list(there.cases.cases(second))) == len(made), "nobody has altered the other scans"


def test_given_scans_are_part_of_the_fingerprint(fold_data, altered_tree: Path) -> None:
    there = plan_fold(fold_data.cohort, fold_data.protocol, 0, selection=Selection(simulated=altered_tree))
    assert there.testset_recipe != fold_data.testset_recipe
    assert there.content(TESTING) != fold_data.content(TESTING) and there.content(TRAINING) == fold_data.content(
        TRAINING
    )
    assert there.cases.sketch == fold_data.cases.sketch
