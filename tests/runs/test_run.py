"""Runs: reused when finished, continued when killed, equal however they came about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.dying import dies_after
from uadbench.cohorts.phantom import Phantom
from uadbench.evaluation import evaluator
from uadbench.evaluation.stored_calibration import CALIBRATION
from uadbench.models.checkpoint import WEIGHTS
from uadbench.protocols.schema import load_protocol, stored_protocol
from uadbench.results.schema import read_result
from uadbench.results.scores import read_scores, score_hash
from uadbench.runs import keys
from uadbench.runs.fit import ANEW
from uadbench.runs.fold_data import Selection, plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete, forget
from uadbench.runtime.progress import Silent
from uadbench.simulation.testset import Draws, SimulatedCases

CPU = torch.device("cpu")
SMOKE = load_protocol("smoke")


def files_of(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_run_leaves_what_it_should(trained) -> None:
    outcome, output = trained
    expected = {"result.json", "scores.parquet", "model.safetensors", "model.json", "curve.json"} | {CALIBRATION}
    expected |= {"examples.npz", "draws.json", "people.json", "protocol.json"}
    drawn_and_logged_by_others = {name for name in files_of(outcome.folder) if name.startswith(("figures/", "mlflow"))}
    assert files_of(outcome.folder) - drawn_and_logged_by_others == expected
    result = read_result(outcome.folder)
    assert result == outcome.result
    table = read_scores(outcome.folder)
    # each test scan with its dementias, blobs, variations and raised blob; patients; validation and audited scans
    plain = 8 * (1 + 6 * 2 + 2 + 2 + 1) + 24 + 12 + 24
    # each test scan under 11 shifts, and two altered versions of four of them
    assert len(table) == plain + 11 * (8 + 2 * 4)
    assert score_hash(table) == result.score_hash
    assert len(result.scores) == 6 * 2 + 2 + 1 + 1 + 4 + 11 * 3
    assert result.training is not None
    assert result.training.epochs == 4
    assert result.cost.parameters > 300_000
    assert result.provenance.packages["torch"]
    assert outcome.folder.is_relative_to(output / "phantom" / "smoke" / "vae3d")


def test_a_result_tells_who_there_was(trained, fold_data) -> None:
    card = trained[0].result.cohort
    assert (card.name, card.version, card.public) == ("phantom", fold_data.cohort.version, True)
    assert (card.tested_on, card.tested_version) == (None, None)
    assert (card.healthy, card.ill) == (["CN"], ["AD", "MCI"])
    assert (card.origin, card.split) == ("protocol", fold_data.split.digest)
    assert (card.train, card.validation, card.test, card.patients, card.audit) == (24, 12, 8, 24, 24)
    assert card.shared_images == 0 and trained[0].result.protocol.intensity == "suvr"
    healthy = fold_data.rows["test"]
    found = {stratum.value: stratum.participants for stratum in trained[0].result.strata}
    assert found == healthy["site"].value_counts().to_dict()
    assert {stratum.by for stratum in trained[0].result.strata} == {"site"}, "the phantom has no scanners"


class Elsewhere(Phantom):
    """Another hospital, which tells nobody who its people are."""

    public = False


@pytest.mark.slow
def test_tested_on_another_cohort_it_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Phantom(participants=20, patients=2), Elsewhere(seed=7, participants=20, patients=2)
    own = plan_fold(here, SMOKE, 0)
    other = plan_fold(here, SMOKE, 0, selection=Selection(test_cohort=there))
    first, second = (Run("ae3d", each, 0) for each in (own, other))
    assert first.fit_key == second.fit_key and first.eval_key != second.eval_key
    before = complete(first, tmp_path, CPU, Silent())
    assert second.state(tmp_path) == "to do"
    after = complete(second, tmp_path, CPU, Silent())
    assert after.folder.relative_to(tmp_path).parts[0] == f"{before.folder.relative_to(tmp_path).parts[0]}--" + (
        "phantom-seed-7-participants-20-patients-2"
    )
    for name in (WEIGHTS, "curve.json", "model.json"):
        assert (after.folder / name).read_bytes() == (before.folder / name).read_bytes(), "seconds are in the curve"
    card = after.result.cohort
    assert (card.name, card.tested_on, card.tested_version) == (here.name, there.name, there.version)
    assert not card.public and before.result.cohort.public and card.origin == "scaled"
    assert after.result.score_hash != before.result.score_hash
    anew = complete(second, tmp_path, CPU, Silent(), fresh=True)
    assert anew.result.score_hash == after.result.score_hash
    assert (after.folder / "curve.json").read_bytes() != (before.folder / "curve.json").read_bytes(), "trained anew"
    forget(second, tmp_path)
    monkeypatch.setattr("uadbench.runs.fit.train", None)
    (after.folder / ANEW).unlink()
    assert not complete(second, tmp_path, CPU, Silent()).reused, "takes the weights again"


def test_a_finished_run_is_not_run_again(trained, fold_data) -> None:
    outcome, output = trained
    before = (outcome.folder / "result.json").stat().st_mtime_ns
    again = complete(Run("vae3d", fold_data, 0), output, CPU, Silent())
    assert again.reused
    assert again.result == outcome.result
    assert (outcome.folder / "result.json").stat().st_mtime_ns == before


def test_fresh_gives_equal_scores(trained, fold_data, tmp_path: Path) -> None:
    outcome, _ = trained
    again = complete(Run("vae3d", fold_data, 0), tmp_path, CPU, Silent())
    twice = complete(Run("vae3d", fold_data, 0), tmp_path, CPU, Silent(), fresh=True)
    assert not twice.reused and not (twice.folder / ANEW).exists()
    assert again.result.score_hash == twice.result.score_hash == outcome.result.score_hash


@pytest.mark.slow
def test_a_new_metric_evaluates_again_and_never_trains_again(
    trained, fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = trained
    first = complete(Run("vae3d", fold_data, 0), tmp_path, CPU, Silent())
    weights = (first.folder / WEIGHTS).stat().st_mtime_ns
    revisions = {**evaluator.REVISIONS, "localisation": 99}
    monkeypatch.setattr(keys, "REVISIONS", revisions)
    run = Run("vae3d", fold_data, 0)
    assert run.state(tmp_path) == "trained"
    second = complete(run, tmp_path, CPU, Silent())
    assert not second.reused
    assert (second.folder / WEIGHTS).stat().st_mtime_ns == weights
    assert second.result.eval_key != outcome.result.eval_key
    assert second.result.score_hash == outcome.result.score_hash


@pytest.mark.slow
@pytest.mark.parametrize(("step", "of"), [("score_scan", 8), ("score_patient", 24), ("score_audited", 24)])
def test_an_evaluation_continues_scan_by_scan(
    step: str, of: int, trained, fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = trained
    monkeypatch.setattr(keys, "SAVE_EVERY_S", 0.0)
    asked: list[str] = []
    plain = getattr(evaluator.Evaluator, step)

    def dies(self, scan, *following):  # type: ignore[no-untyped-def]
        asked.append(scan.participant)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return plain(self, scan, *following)

    monkeypatch.setattr(evaluator.Evaluator, step, dies)
    with pytest.raises(KeyboardInterrupt):
        complete(Run("vae3d", fold_data, 0), tmp_path, CPU, Silent())
    resumed = complete(Run("vae3d", fold_data, 0), tmp_path, CPU, Silent())
    assert len(asked) == 4 + of - 3
    assert resumed.result.score_hash == outcome.result.score_hash
    assert not list(resumed.folder.glob("evaluation/**/*.parquet"))


def test_metrics_change_with_the_protocol_but_weights_need_not(fold_data) -> None:
    wider = fold_data.protocol.standard_map.model_copy(update={"fwhm_mm": 16.0})
    other = fold_data.protocol.model_copy(update={"standard_map": wider})
    run, changed = Run("vae3d", fold_data, 0), Run("vae3d", replace(fold_data, protocol=other), 0)
    assert run.fit_key == changed.fit_key
    assert run.eval_key != changed.eval_key


def test_the_protocol_lies_in_the_run_folder_as_it_was(fold_data, tmp_path: Path) -> None:
    changed = load_protocol("smoke", {"testsets.severities": "[0.2, 0.3]"})
    outcome = complete(Run("mean", replace(fold_data, protocol=changed), 0), tmp_path, CPU, Silent())
    assert stored_protocol(outcome.folder, "smoke") == changed != SMOKE


def test_a_changed_protocol_keeps_apart(fold_data, tmp_path: Path) -> None:
    split = fold_data.protocol.split.model_copy(update={"test": 5})
    other = replace(fold_data, protocol=fold_data.protocol.model_copy(update={"split": split}))
    folders = {Run("mean", m, 0).folder(tmp_path).parent.parent.name for m in (fold_data, other)}
    assert folders == {"smoke", f"smoke-{other.protocol.hash[:8]}"}


def test_a_models_code_is_part_of_the_key(tmp_path: Path, fold_data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own file, and the files beside it that it imports, directly or not, as they were when they were loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "deepest_layers.py").write_text("GAIN = 1.0\n")
    (tmp_path / "some_layers.py").write_text("import deepest_layers\n\ndef gain():\n    return deepest_layers.GAIN\n")
    (tmp_path / "net.py").write_text(
        "from some_layers import gain\n"
        "from uadbench.models.base import ReconstructionModel\n"
        "class Net(ReconstructionModel):\n"
        "    def reconstruct(self, batch):\n"
        "        return gain() * batch.images\n"
    )
    keys = [Run(f"{tmp_path}/net.py:Net", fold_data, 0).fit_key]
    for file in ("deepest_layers.py", "some_layers.py", "net.py"):
        with (tmp_path / file).open("a") as handle:
            handle.write("CHANGED = True\n")
        if file != "net.py":  # which is loaded anew for each run
            assert Run(f"{tmp_path}/net.py:Net", fold_data, 0).fit_key == keys[-1], "the code that runs is the old one"
        for loaded in ("deepest_layers", "some_layers"):
            monkeypatch.delitem(sys.modules, loaded)
        keys.append(Run(f"{tmp_path}/net.py:Net", fold_data, 0).fit_key)
    assert len(set(keys)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training.safetensors", "000000.parquet"])
def test_killed_and_run_again(moment: str, tmp_path: Path, own_cache: Path, fold_data) -> None:
    """kill -9 in mid-training and in mid-evaluation; the next run ends with the hash of an undisturbed one."""
    code = (
        "from uadbench.runs import keys\n"
        "keys.SAVE_EVERY_S = 0.0\n"
        "from uadbench.cli.main import main\n"
        f"main(['run', '--model', 'ae3d', '--protocol', 'smoke', '--output', {str(tmp_path)!r},"
        " '--tracking-uri', 'none', '--set', 'protocol.training.epochs=30'])\n"
    )
    environment = {**os.environ, "UADBENCH_CACHE": str(own_cache)}
    doomed = [sys.executable, "-c", dies_after(f"*/{moment}") + code]
    killed = subprocess.run(doomed, check=False, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(tmp_path.glob("**/result.json"))
    resumed = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert "continues after" in resumed.stderr
    (found,) = tmp_path.glob("**/result.json")
    protocol = fold_data.protocol.model_copy(
        update={"training": fold_data.protocol.training.model_copy(update={"epochs": 30})}
    )
    undisturbed = complete(
        Run("ae3d", replace(fold_data, protocol=protocol), 0), tmp_path / "undisturbed", CPU, Silent()
    )
    assert read_result(found).score_hash == undisturbed.result.score_hash


def test_what_was_drawn_is_replayed_from_the_run_folder(trained, fold_data) -> None:
    outcome, _ = trained
    stored = json.loads((outcome.folder / "draws.json").read_text(encoding="utf-8"))
    assert [(s["participant_id"], s["session_id"]) for s in stored] == [scan.key for scan in fold_data.cases.scans]
    scan, scores = fold_data.cases.scans[3], read_scores(outcome.folder)
    replayed = list(SimulatedCases(fold_data.protocol, [scan]).cases(scan, Draws.from_json(stored[3])))
    assert all(np.array_equal(a.altered, b.altered) for a, b in zip(replayed, fold_data.cases.cases(scan), strict=True))
    own = scores[(scores["participant_id"] == scan.participant) & (scores["anomaly"] == "varied")]
    varied = [case for case in replayed if case.anomaly == "varied"]
    assert own["severity"].tolist() == [case.severity for case in varied]
    np.testing.assert_allclose(own["effective_reduction"], [case.effective_reduction for case in varied], rtol=1e-6)
