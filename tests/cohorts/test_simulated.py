"""Altered scans that ClinicaDL or `uadbench simulate` wrote: found by their names, scored as more test sets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cli.main import main
from uadbench.cohorts.base import keys_of
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import CAPS_GRID, scan_path
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.simulated import AlteredScans, named_simulation
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.results.scores import read_scores
from uadbench.runs.fold_data import Selection, plan_fold
from uadbench.runtime.progress import Silent
from uadbench.simulation import hypometabolism
from uadbench.simulation.files import simulate
from uadbench.simulation.testset import SimulatedCases
from uadbench.space import atlas
from uadbench.types import GIVEN, Case

SMOKE = load_protocol("smoke")
COHORT = "phantom:participants=16,patients=2"
WRITTEN = {"ad": (30, 50), "bvftd": (30,)}
"""What is simulated, and how many per cent."""


def save(file: Path, data: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, CAPS_GRID.affine), file)
    return file


def altered_path(key: tuple[str, str], anomaly: str, percent: object, folder: str = "pet-linear") -> Path:
    """What ClinicaDL calls an altered scan, and where it puts it."""
    path = scan_path(*key).with_suffix("")
    return path.parents[1] / folder / path.name.replace("_pet.nii", f"_pat-{anomaly}_deg-{percent}_pet.nii")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(participants=16, patients=2)


@pytest.fixture(scope="module")
def tested(phantom) -> pd.DataFrame:
    """The first three of those whom the protocol `smoke` tests, and one whom it trains on."""
    rows = plan_fold(phantom, SMOKE, 0).rows
    return pd.concat([rows["test"].iloc[:3], rows["train"].iloc[[0]]], ignore_index=True)


@pytest.fixture(scope="module")
def tree(phantom, tested, tmp_path_factory) -> Path:
    """A tree as ClinicaDL's `generate hypometabolic` leaves it, of healthy scans at 1 mm, which lie there, too."""
    tree = tmp_path_factory.mktemp("simulated")
    place = CAPS_GRID.affine, CAPS_GRID.shape
    masks = {anomaly: hypometabolism.smoothed_mask(anomaly, *place) for anomaly in WRITTEN}
    for number, scan in enumerate(phantom.scans(CAPS_GRID, tested)):
        save(tree / scan_path(*scan.key).with_suffix(""), scan.data)
        for anomaly, degrees in WRITTEN.items():
            for percent in degrees:
                path = tree / altered_path(scan.key, anomaly, percent, "pet_linear" if number == 1 else "pet-linear")
                save(path, scan.data * (1 - np.float32(percent / 100) * masks[anomaly]))
    participants = tested.drop(columns="session_id").rename(columns={"group": "diagnosis"})
    participants.to_csv(tree / "participants.tsv", sep="\t", index=False)
    return tree


@pytest.fixture
def one(tested, tree, tmp_path) -> Path:
    """A tree with the altered scans of one participant, hard-linked."""
    for path in tree.glob(f"subjects/{tested.participant_id[0]}/*/pet-linear/*"):
        target = tmp_path / "one" / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    return tmp_path / "one"


def given(cases: SimulatedCases) -> dict[tuple[str, float], Case]:
    (scan,) = cases.scans
    return {(c.anomaly, c.severity): c for c in cases.cases(scan) if c.anomaly.startswith(GIVEN)}


def only(phantom, protocol, row: pd.DataFrame, tree: Path) -> SimulatedCases:
    """The cases of one scan under a protocol."""
    (scan,) = phantom.scans(protocol.lattice, row)
    return SimulatedCases(protocol, [scan], AlteredScans.find(tree, [scan.key], protocol.lattice))


# --- by name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s_trc-18FFDG_suvr-cerebellumPons2_pat-ad_deg-30_pet.nii.gz", ("ad", 0.3)),
        ("s_trc-18FFDG_suvr-cerebellumPons2_pat-lvppa_deg-5_pet.nii.gz", ("lvppa", 0.05)),
        ("s_trc-18FFDG_suvr-cerebellumPons2_pat-AD_deg-2.5_pet.nii", ("ad", 0.025)),
        ("s_suvr-pons_anomaly-pca_severity-02p5_pet.nii.gz", ("pca", 0.025)),
        ("s_suvr-pons_anomaly-pca_severity-100_pet.nii.gz", ("pca", 1.0)),
        ("s_suvr-pons_anomaly-pca_severity-30_reduction.nii.gz", None),
        ("s_suvr-pons_anomaly-pca_mask.nii.gz", None),
        ("s_trc-18FFDG_suvr-cerebellumPons2_pet.nii.gz", None),
    ],
)
def test_names(name, expected):
    assert named_simulation(name) == expected


def test_the_trees_altered_scans_are_found(tree, tested):
    keys = keys_of(tested.iloc[:3])
    found = AlteredScans.find(tree, keys, SMOKE.lattice)
    assert list(found.files) == sorted(keys)
    for cases in found.files.values():
        assert list(cases) == [("ad", 0.3), ("ad", 0.5), ("bvftd", 0.3)]
    assert {file.parent.name for cases in found.files.values() for file in cases.values()} == {
        "pet-linear",
        "pet_linear",
    }
    assert found.summary == (
        f"{tree}: 9 altered scans of 3 test participants; 3 of participants outside the test set are left out"
    )


def test_sessions_and_tracers(one, tested):
    """A session is the same in any spelling; altered scans of another tracer are not ours."""
    key = keys_of(tested)[0]
    folder = one / "subjects" / key[0]
    (folder / key[1]).rename(folder / "ses-M0")
    file = next((folder / "ses-M0" / "pet-linear").glob("*deg-50*"))
    os.link(file, file.with_name(file.name.replace("18FFDG", "18FAV45")))
    assert len(AlteredScans.find(one, [key], SMOKE.lattice).files[key]) == 3


def test_a_cohort_in_the_same_tree_has_only_the_healthy_scans(tree, tested):
    caps = Caps(tree)
    assert keys_of(caps.participants) == keys_of(tested.sort_values("participant_id"))
    assert not [file for file in caps.files(caps.participants) if "_pat-" in file.name]


def test_the_content_follows_the_files_and_the_recipe_does_not(one, tested):
    keys = keys_of(tested)
    before = AlteredScans.find(one, keys, SMOKE.lattice)
    file = next(one.glob("subjects/*/*/*/*deg-50*"))
    data = np.asarray(nibabel.load(file).dataobj)
    file.unlink()
    save(file, data)
    after = AlteredScans.find(one, keys, SMOKE.lattice)
    assert before.recipe == after.recipe
    assert before.files == after.files and after.content != before_content(before, one)
    file.unlink()
    assert AlteredScans.find(one, keys, SMOKE.lattice).recipe != after.recipe


def before_content(found: AlteredScans, tree: Path) -> str:
    """As if the files were of yesterday."""
    for file in tree.glob("subjects/*/*/*/*"):
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 1))
    return found.content


# --- what they are


@pytest.mark.parametrize(("name", "most"), [("smoke", 5), ("quick", 0), ("paper", 0)])
def test_the_truth_follows_from_the_reduction(name, most, phantom, tested, one):
    """Another tool's files hold no weights: their truth is where the reduction exceeds half of the severity.

    So many voxels of the truth may differ: measured were 1 to 5 of 18 432 under `smoke`, none under the others."""
    protocol = load_protocol(name)
    cases = only(phantom, protocol, tested.iloc[[0]], one)
    found = given(cases)
    assert list(found) == [("given-ad", 0.3), ("given-ad", 0.5), ("given-bvftd", 0.3)]
    for (anomaly, severity), case in found.items():
        own = anomaly.removeprefix("given-")
        expected = hypometabolism.truth(cases.smoothed_masks[own], cases.brain)
        assert (case.truth != expected).sum() <= most
        assert np.array_equal(expected, cases.truths[own]) == (own == "ad"), "all weights of AD are 1"
        assert (case.truth == 1).sum() > 500 and case.intensity == cases.intensity(case.scan)
        assert case.severity == severity


@pytest.mark.parametrize(("name", "most"), [("smoke", 3e-3), ("quick", 1e-6), ("paper", 1e-6)])
def test_the_reduction_is_the_protocols_own(name, most, phantom, tested, one):
    """At 30 % in the brain, but for a few voxels of hardly any uptake (measured: 4 of 235 409 under `paper`).

    Where a grid lies between the file's voxels, as that of `smoke`, an interpolated product is not the product of
    interpolated factors: up to 2 % of its voxels are off by .001 to .0026.
    """
    protocol = load_protocol(name)
    cases = only(phantom, protocol, tested.iloc[[0]], one)
    case = given(cases)["given-ad", 0.3]
    own = hypometabolism.reduction(cases.smoothed_masks["ad"], 0.3)
    off = np.abs(case.reduction - own)[cases.brain]
    uptake = case.scan.data[cases.brain]
    assert off[uptake > 0.05 * case.scan.data.max()].max() < most
    assert (off > 1e-3).mean() < (0.03 if name == "smoke" else 1e-4) and case.reduction.max() > 0.25
    assert case.reduction.dtype == np.float32 and np.isfinite(case.reduction).all()


def test_what_simulate_wrote_is_read(phantom, tested, tree, tmp_path):
    key = keys_of(tested)[0]
    healthy = tmp_path / "healthy" / scan_path(*key).with_suffix("")
    healthy.parent.mkdir(parents=True)
    os.link(tree / scan_path(*key).with_suffix(""), healthy)
    simulate(tmp_path / "healthy", ["ad"], [0.3, 0.025], tmp_path / "out", Silent())
    cases = only(phantom, load_protocol("quick"), tested.iloc[[0]], tmp_path / "out")
    found = given(cases)
    assert list(found) == [("given-ad", 0.025), ("given-ad", 0.3)]
    for case in found.values():
        assert (case.truth != cases.truths["ad"]).sum() == 0
        own = hypometabolism.reduction(cases.smoothed_masks["ad"], case.severity)
        np.testing.assert_allclose(case.reduction[cases.brain], own[cases.brain], atol=1e-6)


# --- what cannot be used


def test_nothing_of_those_who_test(tree, tested):
    with pytest.raises(InputError, match=r"12 altered scans .* 1 healthy test scans"):
        AlteredScans.find(tree, [("sub-P0001", "ses-M999")], SMOKE.lattice)


def test_no_tree(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        AlteredScans.find(tmp_path / "none", [("a", "b")], SMOKE.lattice)
    with pytest.raises(InputError, match="not a CAPS tree: no 'subjects' folder"):
        AlteredScans.find(tmp_path, [("a", "b")], SMOKE.lattice)


def test_the_same_simulation_twice(one, tested):
    key = keys_of(tested)[0]
    file = one / altered_path(key, "ad", 30)
    os.link(file, file.with_name(file.name.replace("deg-30", "deg-30.0")))
    with pytest.raises(InputError, match=r"is the same simulation as .*; remove one"):
        AlteredScans.find(one, [key], SMOKE.lattice)


def replaced(file: Path, data: np.ndarray) -> None:
    file.unlink()
    save(file, data)


def test_an_altered_scan_of_another_unit_is_refused(phantom, one, tested):
    file = one / altered_path(keys_of(tested)[0], "ad", 30)
    replaced(file, np.asarray(nibabel.load(file).dataobj) * np.float32(5000))
    with pytest.raises(
        InputError, match=r"deg-30_pet.nii: has \d{4}\.\d\d times the uptake of sub-P.*not an altered version"
    ):
        given(only(phantom, SMOKE, tested.iloc[[0]], one))


def test_an_altered_scan_of_somebody_else_is_refused(phantom, tree, one, tested):
    """Though its mean uptake happens to be that of the participant."""
    key, other = keys_of(tested)[:2]
    theirs, own = (np.asarray(nibabel.load(tree / scan_path(*who).with_suffix("")).dataobj) for who in (other, key))
    brain = atlas.brain_mask(CAPS_GRID)
    replaced(one / altered_path(key, "ad", 30), theirs / np.float32(np.median(theirs[brain] / own[brain])))
    with pytest.raises(InputError, match=r"deg-30_pet\.nii: .*not an altered version of that scan"):
        given(only(phantom, SMOKE, tested.iloc[[0]], one))


def test_a_damaged_altered_scan_is_named(phantom, one, tested):
    file = one / altered_path(keys_of(tested)[0], "bvftd", 30)
    file.unlink()
    file.write_bytes(b"x")
    with pytest.raises(InputError, match=r"pat-bvftd_deg-30_pet\.nii: not a readable NIfTI file"):
        given(only(phantom, SMOKE, tested.iloc[[0]], one))


def test_scans_that_are_divided_by_their_reference_have_altered_versions(tree, tested, one, tmp_path):
    """The cohort's own files are in Bq/ml, and so is what was simulated from them."""
    key = keys_of(tested)[0]
    for path in [tree / scan_path(*key).with_suffix(""), *one.glob("subjects/*/*/*/*")]:
        save(tmp_path / "raw" / path.relative_to(tree if path.is_relative_to(tree) else one), raw_of(path))
    (tmp_path / "raw" / "participants.tsv").write_bytes((tree / "participants.tsv").read_bytes())
    cohort = Caps(tmp_path / "raw", suvr="cerebellum-pons")
    (scan,) = cohort.scans(SMOKE.lattice, cohort.participants)
    found = AlteredScans.find(tmp_path / "raw", [key], SMOKE.lattice, rescaled=True)
    smoothed = hypometabolism.smoothed_mask("ad", SMOKE.lattice.affine, SMOKE.lattice.shape)
    name, severity, reduction = next(found.reductions(scan))
    brain = atlas.brain_mask(SMOKE.lattice)
    assert (name, severity) == ("given-ad", 0.3)
    np.testing.assert_allclose(reduction[brain], 0.3 * smoothed[brain], atol=3e-3)


def raw_of(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj) * np.float32(5000)


# --- a run with them


def test_a_run_with_them_has_more_test_sets_and_the_same_ranking(tree, tested, tmp_path, capsys):
    options = ["--model", "zscore", "--protocol", "smoke", "--tracking-uri", "none", "--json", "--cohort", COHORT]
    options += ["--set", "protocol.testsets.anomalies=['ad', 'bvftd']"]
    results, folders, told = [], [], []
    for name, more in (("without", []), ("with", ["--simulated", str(tree)])):
        with pytest.raises(SystemExit) as stopped:
            main(["run", *options, *more, "--output", str(tmp_path / name)])
        printed = capsys.readouterr()
        assert not stopped.value.code, printed.err
        (found,) = json.loads(printed.out)["results"]
        results.append(found["result"])
        folders.append(Path(found["folder"]))
        told.append(printed.err)
    without, with_them = results
    assert "9 altered scans of 3 test participants" in told[1] and "altered" not in told[0]
    assert with_them["headline"] == without["headline"] and with_them["fit_key"] == without["fit_key"]
    assert with_them["testset"]["recipe"] != without["testset"]["recipe"]
    assert with_them["testset"]["sketch"] == without["testset"]["sketch"]
    more = {(s["anomaly"], s["severity"]) for s in with_them["scores"]}
    assert more - {(s["anomaly"], s["severity"]) for s in without["scores"]} == {
        ("given-ad", 0.3), ("given-ad", 0.5), ("given-bvftd", 0.3),
    }  # fmt: skip
    for key in ("scores", "strata"):
        assert [each for each in with_them[key] if not each.get("anomaly", "").startswith("given-")] == without[key]
    assert [each["anomaly"] for each in with_them["detection"]["severities"]] == ["ad", "bvftd", "unseen"]
    scores = read_scores(folders[1]).set_index(["anomaly", "severity", "participant_id"])["ap.standard"]
    for person in tested.participant_id[:3]:
        for anomaly, severity in (("ad", 0.3), ("ad", 0.5)):  # where both have the same truth
            own, theirs = scores[anomaly, severity, person], scores[f"given-{anomaly}", severity, person]
            assert own == pytest.approx(theirs, abs=0.01) and own > 0.02


def test_without_altered_scans_of_those_who_test_nothing_is_run(tree, tmp_path, capsys):
    options = ["--model", "mean", "--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none"]
    with pytest.raises(SystemExit) as stopped:
        main(["run", *options, "--cohort", "phantom:seed=7", "--simulated", str(tree / "subjects")])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert stopped.value.code == 2 and f"give {tree}" in line


def test_selected_with_the_material(phantom, tree):
    found = plan_fold(phantom, SMOKE, 0, selection=Selection(simulated=tree))
    plain = plan_fold(phantom, SMOKE, 0)
    assert found.altered is not None and len(found.altered.files) == 3
    assert found.content(("train", "validation")) == plain.content(("train", "validation"))
    assert found.content(("test", "patients")) == [*plain.content(("test", "patients")), found.altered.content]
    assert np.array_equal(found.cases.brain, atlas.brain_mask(SMOKE.lattice))
