"""Model meets test sets: what a score must and must not depend on."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from uadbench.errors import Unfinished
from uadbench.evaluation import chunks
from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.inference import observe
from uadbench.models.base import Model, ReconstructionModel
from uadbench.models.identity import Identity
from uadbench.models.mean import Mean
from uadbench.models.zscore import ZScore
from uadbench.protocols.schema import load_protocol
from uadbench.results.scores import score_hash
from uadbench.runs.fold_data import plan_fold
from uadbench.runs.keys import Run
from uadbench.runtime.progress import Silent
from uadbench.simulation.regions import DEMENTIAS
from uadbench.types import SHIFTED, Batch

CPU = torch.device("cpu")


def evaluator_of(fold_data, model: Model) -> Evaluator:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        model.fit(fold_data.batches("train", 0, CPU))
    return Evaluator.calibrated(model, fold_data.cases, fold_data.batches("validation", 0, CPU), CPU)


def scores_of(fold_data, model: Model, scan: int = 0) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """The rows of a scan and its cases, without shifted ones."""
    rows = evaluator_of(fold_data, model).score_scan(fold_data.cases.scans[scan])
    return rows[~rows["anomaly"].str.startswith(SHIFTED)].reset_index(drop=True)


@pytest.fixture(scope="module")
def grid(fold_data):
    return fold_data.protocol.lattice


def test_identity_detects_nothing(fold_data, grid) -> None:
    rows = scores_of(fold_data, Identity(grid))
    cases = rows[rows["anomaly"] != "healthy"]
    dementias = rows[rows["anomaly"].isin(DEMENTIAS)]
    assert (dementias["residual.whole.mse"] == 0).all()
    assert (dementias["residual.whole.ssim"] == 1).all()
    assert rows["residual.whole.mse"].iloc[0] == 0
    for label in ("native", "standard"):
        np.testing.assert_allclose(cases[f"ap.{label}"], cases["prevalence"], rtol=1e-12)
        np.testing.assert_allclose(cases[f"auroc.{label}"], 0.5)
        assert cases[f"correlation.{label}"].isna().all(), "a flat map has no correlation"
    assert (rows["subject.score"] == 0).all()
    for name in ("recall.fpr0.001", "recall.fpr0.01", "dice.fpr0.01"):
        assert (cases[name] == 0).all(), "nothing lies above the threshold of a flat map"
    np.testing.assert_allclose(cases["dice.oracle"], 2 * cases["prevalence"] / (1 + cases["prevalence"]))
    lowered = cases[cases["anomaly"] != "hyper"]
    assert (lowered["recovered"] == 0).all()
    assert cases.loc[cases["anomaly"] == "hyper", "recovered"].isna().all(), "nothing was taken"
    sets, brain = fold_data.cases, fold_data.cases.brain
    people = np.stack([scan.data[brain] for scan in sets.scans])
    nearest = [np.square(case.altered[brain] - people).sum(axis=1).argmin() for case in sets.cases(sets.scans[0])]
    assert (cases["identified"] == (np.array(nearest) == 0)).all(), "a large reduction can resemble another person"
    assert cases["identified"].mean() > 0.9
    assert (cases["healthiness.from_altered"] == cases["healthiness.altered"]).all()
    assert (lowered["healthiness.altered"] < lowered["healthiness.healthy"]).all()


def test_a_raised_uptake_is_nothing_to_be_found_by_a_one_sided_map(fold_data, grid) -> None:
    rows = scores_of(fold_data, ZScore(grid))
    raised = rows[rows["anomaly"] == "hyper"].iloc[0]
    lowered = rows[(rows["anomaly"] == "unseen") & (rows["severity"] == raised["severity"])].iloc[0]
    assert raised["effective_reduction"] == pytest.approx(-lowered["effective_reduction"])
    assert raised["auroc.standard"] < 0.2 and lowered["auroc.standard"] > 0.8
    assert raised["ap.standard"] < raised["prevalence"]
    assert raised["recall.fpr0.01"] == 0
    assert raised["correlation.standard"] > 0.2, "the map is signed, and so is the reduction"
    assert raised["subject.score"] < lowered["subject.score"]


def test_patients_and_validation_scans_have_rows_of_their_own(fold_data, grid) -> None:
    evaluator = evaluator_of(fold_data, Mean(grid))
    patients = fold_data.scans("patients")
    assert [scan.group for scan in patients].count("AD") == [scan.group for scan in patients].count("MCI") == 12
    row = evaluator.score_patient(patients[0]).iloc[0]
    image = fold_data.cases.intensity(patients[0]).normalise(patients[0].data)
    expected = np.square(evaluator.model.mean.numpy() - image).mean()
    assert row["residual.whole.mse"] == pytest.approx(expected, rel=1e-5)
    assert row["mmse"] == patients[0].mmse and row["anomaly"] == "patients"
    assert (row["site"], row["scanner"], row["amyloid"]) == (patients[0].site, "", patients[0].amyloid)
    assert row["site"] and row["amyloid"] and row["group"] == patients[0].group
    assert (row["age"], row["sex"]) == (np.floor(patients[0].age), patients[0].sex)
    rows = evaluator.validation_rows()
    assert list(rows["participant_id"]) == [scan.participant for scan in fold_data.scans("validation")]
    people = {part: set(fold_data.rows[part]["participant_id"]) for part in ("train", "validation", "test", "patients")}
    assert sum(map(len, people.values())) == len(set().union(*people.values()))


def test_a_patient_who_was_healthy_once_tests_nobody(fold_data) -> None:
    """A model may have been trained on the earlier scan."""
    cohort = copy.copy(fold_data.cohort)
    converted = fold_data.rows["train"]["participant_id"].iloc[0]
    table = cohort.participants
    visit = table[table["participant_id"] == converted].iloc[[0]].assign(session_id="ses-M999", group="AD")
    cohort.participants = pd.concat([table, visit], ignore_index=True)
    all_patients = load_protocol("smoke", {"split.most_patients": "500"})
    patients = plan_fold(cohort, all_patients, 0, Silent()).rows["patients"]
    assert len(patients) == 160 and converted not in set(patients["participant_id"])


def test_a_cohort_without_patients_has_an_empty_test_set(fold_data) -> None:
    nobody = load_protocol("smoke", {"split.patients": "'FTD'"})
    there = plan_fold(fold_data.cohort, nobody, 0, Silent())
    assert there.scans("patients") == [] and there.testset_recipe != fold_data.testset_recipe


def test_an_oracle_that_returns_the_healthy_scan_is_perfect(fold_data, grid) -> None:
    class Oracle(ReconstructionModel):
        def reconstruct(self, batch: Batch) -> Tensor:
            return healthy.expand_as(batch.images).clone()

    scan = fold_data.cases.scans[1]
    healthy = torch.from_numpy(fold_data.cases.intensity(scan).normalise(scan.data))
    rows = scores_of(fold_data, Oracle(grid), 1)
    cases = rows[rows["anomaly"] != "healthy"]
    lowered = cases[cases["anomaly"] != "hyper"]
    assert (cases.loc[cases["anomaly"].isin(DEMENTIAS), "restoration.whole.mse"] == 0).all()
    np.testing.assert_allclose(lowered["recovered"], 1, atol=1e-5)
    assert (cases["damage"] == 0).all()
    assert (cases["identified"] == 1).all()
    assert (cases["healthiness.from_altered"] == cases["healthiness.healthy"]).all()
    # x r is highest where uptake is high, so even the oracle's native map is not perfect: but far above chance
    assert (lowered["ap.native"] > 0.8).all()


def test_the_mean_reconstructs_the_same_whatever_the_severity(fold_data, grid) -> None:
    rows = scores_of(fold_data, Mean(grid))
    cases = rows[rows["anomaly"].isin(DEMENTIAS)]
    assert (cases["consistency.whole.mse"] == 0).all()
    assert cases["restoration.whole.mse"].nunique() == 1
    assert cases["restoration.whole.mse"].iloc[0] == pytest.approx(rows["residual.whole.mse"].iloc[0], rel=1e-12)


def test_ap_is_scikit_learns(fold_data, grid) -> None:
    evaluator = evaluator_of(fold_data, ZScore(grid))
    scan = fold_data.cases.scans[2]
    rows = evaluator.score_scan(scan)
    case = list(fold_data.cases.cases(scan))[3]
    batch = evaluator.batch([case.altered], scan)
    counted = case.truth >= 0
    native = observe(evaluator.model, batch).anomaly_map
    standard = evaluator.calibration.as_volumes(evaluator.calibration.standard_map(native))
    for label, maps in (("native", native), ("standard", standard)):
        expected = average_precision_score(case.truth[counted], maps[0].numpy()[counted])
        assert rows[f"ap.{label}"].iloc[4] == pytest.approx(expected, abs=1e-9)
    assert (rows["anomaly"].iloc[4], rows["severity"].iloc[4]) == (case.anomaly, case.severity)
    assert "restoration.whole.mse" not in rows


def test_a_scan_scores_the_same_in_any_batch(fold_data, trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from uadbench.models.checkpoint import load_model

    outcome, _ = trained
    model = load_model(outcome.folder)
    evaluator = Evaluator.calibrated(model, fold_data.cases, fold_data.batches("validation", 0, CPU), CPU)
    together = evaluator.score_scan(fold_data.cases.scans[0])
    monkeypatch.setattr(chunks, "VOXELS_AT_ONCE", 1)
    alone = evaluator.score_scan(fold_data.cases.scans[0])
    numbers = together.select_dtypes("number").columns
    np.testing.assert_allclose(together[numbers], alone[numbers], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(lambda x: x[:, :, :4], "has shape"), (lambda x: x / 0, "not finite")],
)
def test_a_wrong_answer_ends_the_evaluation(fold_data, grid, answer, complaint: str) -> None:
    class Wrong(Model):
        registered_name = "wrong"

        def anomaly_map(self, batch: Batch) -> Tensor:
            return answer(batch.images)

    with pytest.raises(Unfinished, match=complaint):
        evaluator_of(fold_data, Wrong(grid))


def test_reconstruction_is_asked_for_once(fold_data, grid) -> None:
    class Counts(Identity):
        calls = 0

        def reconstruct(self, batch: Batch) -> Tensor:
            Counts.calls += 1
            return super().reconstruct(batch)

    evaluator = evaluator_of(fold_data, Counts(grid))
    Counts.calls = 0
    evaluator.score_scan(fold_data.cases.scans[0])
    assert Counts.calls == 3  # the healthy scan, its cases in one batch, and all shifted scans in another


def test_what_becomes_known_of_patients_changes_the_claims_and_no_score(fold_data) -> None:
    patients = fold_data.rows["patients"].copy()
    patients.iloc[0, patients.columns.get_loc("mmse")] = np.nan
    tested = fold_data.rows["test"].assign(scanner="mCT")
    milder = fold_data.rows["patients"].assign(group="MCI")
    before = Run("mean", fold_data, 0)
    for part, rows in (("patients", patients), ("patients", milder), ("test", tested)):
        after = Run("mean", replace(fold_data, rows={**fold_data.rows, part: rows}), 0)
        assert before.fit_key == after.fit_key and before.eval_key != after.eval_key
    rows = scores_of(fold_data, Mean(fold_data.protocol.lattice))
    assert score_hash(rows) == score_hash(rows.assign(mmse=7.0, age=7.0, group="MCI", scanner="mCT", amyloid="A+"))


def test_runs_are_told_apart_by_what_matters(fold_data) -> None:
    run = Run("vae3d", fold_data, 0)
    assert run.fit_key == Run("vae3d", fold_data, 0).fit_key
    assert run.fit_key != Run("vae3d", fold_data, 1).fit_key
    assert run.fit_key != Run("vae3d", fold_data, 0, {"latent": 64}).fit_key
    assert run.fit_key == Run("vae3d", fold_data, 0, {"latent": "32"}).fit_key
    assert run.fit_key != Run("ae3d", fold_data, 0).fit_key
