"""The near-ideal reference: fitted on other participants, resumable, and shown where it matches."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from uadbench.cli.tables import models_table, severity_table
from uadbench.cohorts.opening import open_cohort
from uadbench.errors import InputError
from uadbench.leaderboard import reference
from uadbench.leaderboard.reference import ReferenceFit
from uadbench.models.wiener import Wiener
from uadbench.protocols.schema import load_protocol
from uadbench.results import near_ideal as shown
from uadbench.results.near_ideal import Precision, Reference, near_ideal, read_reference
from uadbench.results.schema import Bounded, Result, read_result
from uadbench.runs.fold_data import FoldData, plan_fold
from uadbench.runtime.files import write_text
from uadbench.runtime.progress import Silent

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fold_data() -> FoldData:
    return plan_fold(open_cohort("phantom"), load_protocol("smoke"), 0)


def fit(fold_data: FoldData, work: Path, scans: int = 10) -> ReferenceFit:
    return ReferenceFit(fold_data, scans, work, CPU, Silent())


def test_nobody_of_the_cohort_is_in_the_sample(fold_data: FoldData, tmp_path: Path) -> None:
    people = fit(fold_data, tmp_path, 30)._people
    assert len(people) == 30 and people["participant_id"].is_unique
    assert not set(people["participant_id"]) & set(fold_data.cohort.participants["participant_id"])


def test_the_filter_is_the_model_s_fit_on_the_same_scans(fold_data: FoldData, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", 4)
    computation = fit(fold_data, tmp_path)
    found = computation._fitted(None)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    scans = list(computation._sample.scans(fold_data.protocol.lattice, computation._people))
    images = torch.stack([computation._image(scan) for scan in scans])
    ordered = [i for half in (0, 1) for i in range(half, 4, 2)]
    ordered += [4 + i for i in ordered] + [8, 9]  # each chunk holds its two halves one after the other
    expected = Wiener(fold_data.protocol.lattice)
    expected.learn(images.mean(dim=0), expected.coarse.down(images[ordered]))
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.filter, expected.filter, atol=1e-5, rtol=1e-4)


def test_an_interrupted_computation_continues(fold_data: FoldData, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", 4)
    generate = reference.Phantom.scans
    started: list[str] = []

    def scans(self, grid, rows):  # type: ignore[no-untyped-def]
        started.append(rows["participant_id"].iloc[0])
        if len(started) == 3:
            raise KeyboardInterrupt
        return generate(self, grid, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reference.Phantom, "scans", scans)
        fit(fold_data, tmp_path / "work")._fitted(None)
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.safetensors")}
    assert len(kept) == 2
    found = fit(fold_data, tmp_path / "work")._fitted(None)
    again = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.safetensors")}
    assert kept.items() <= again.items() and len(again) == 3
    assert torch.equal(found.filter, fit(fold_data, tmp_path / "other")._fitted(None).filter)


@pytest.mark.slow
def test_a_reference_holds_the_scores_of_the_evaluator(fold_data: FoldData, tmp_path: Path, monkeypatch) -> None:
    found = fit(fold_data, tmp_path).compute()
    monkeypatch.setattr(reference, "score_scans", None)  # every evaluation was stored
    assert fit(fold_data, tmp_path).compute() == found
    assert 0 < found.ap.low < found.ap.value < found.ap.high <= 1
    assert found.ap.value == pytest.approx((found.ap_dementias + found.ap_unseen) / 2, abs=1e-5)
    ranked = [each.ap.value for each in found.testsets if each.anomaly == "ad" and each.severity == 0.3]
    assert len(ranked) == 1 and np.isfinite(ranked[0])
    write_text(tmp_path / found.file, found.model_dump_json())
    assert read_reference(tmp_path / found.file) == found


def test_only_the_phantom_has_a_reference(fold_data: FoldData, tmp_path: Path) -> None:
    clinic = SimpleNamespace(name="clinic")
    with pytest.raises(InputError, match="wiener"):
        fit(replace(fold_data, cohort=clinic, test_cohort=clinic), tmp_path)
    with pytest.raises(InputError, match="--scans 3"):
        fit(fold_data, tmp_path, 3)


@pytest.fixture
def smoke(tmp_path: Path) -> Result:
    """A result under `smoke`, written before for the metric gate."""
    file = next((ROOT / "benchmarks" / "baselines").rglob("zscore/fold0-seed0-*.json"))
    return read_result(file)


def made_up(result: Result) -> Reference:
    testsets = (Precision(anomaly="ad", severity=0.3, ap=Bounded(value=0.81, low=0.7, high=0.9)),)
    card = {"protocol": result.protocol.name, "protocol_hash": result.protocol.hash, "recipe": result.testset.recipe}
    cohort = {"cohort": result.cohort.name, "cohort_version": result.cohort.version}
    halves = {"ap_dementias": 0.72, "ap_unseen": 0.7, "halves": (0.7, 0.705), "testsets": testsets}
    return Reference(**card, **cohort, **halves, scans=3000, ap=Bounded(value=0.71, low=0.69, high=0.73))


def test_a_reference_is_shown_only_where_everything_matches(smoke: Result, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shown, "FOLDER", tmp_path)
    fitting = made_up(smoke)
    for change in ("protocol_hash", "cohort", "cohort_version", "recipe"):
        shown._references.cache_clear()
        other = fitting.model_copy(update={change: "another"})
        (tmp_path / "one.json").write_text(other.model_dump_json())
        assert near_ideal(smoke) is None
    shown._references.cache_clear()
    (tmp_path / "one.json").write_text(fitting.model_dump_json())
    found = near_ideal(smoke)
    assert found is not None and str(found) == "near-ideal 0.710" and found.at("ad", 0.3) == 0.81
    assert found.at("ad", 0.5) is None
    text = StringIO()
    Console(file=text, width=200).print(severity_table(smoke), models_table([smoke]))
    assert "0.810" in text.getvalue() and "0.710" in text.getvalue()
    shown._references.cache_clear()


def test_without_a_reference_the_filter_of_the_sweep_is_shown(smoke: Result, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shown, "FOLDER", tmp_path)
    filtered = smoke.model_copy(update={"model": smoke.model.model_copy(update={"name": "wiener"})})
    found = near_ideal(smoke, [smoke, filtered])
    assert found is not None and found.ap == smoke.headline.ap_standard and "training scans" in found.label
    elsewhere = filtered.testset.model_copy(update={"recipe": "another"})
    assert near_ideal(smoke, [filtered.model_copy(update={"testset": elsewhere})]) is None
    assert near_ideal(smoke) is None


def test_a_corrupted_reference_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    file.write_text('{"protocol": "quick"}')
    with pytest.raises(InputError, match=r"quick\.json"):
        read_reference(file)
