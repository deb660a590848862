"""A request says the same in every process; a plan says what is left to do, and what it costs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from uadbench.cli.main import app
from uadbench.launch import worker
from uadbench.launch.cluster import _blank_order
from uadbench.launch.estimates import Estimator
from uadbench.launch.plan import Request
from uadbench.launch.worker import Answer, Order
from uadbench.protocols.schema import load_protocol
from uadbench.runs.keys import Run
from uadbench.runtime.progress import Silent


def request_of(**more) -> Request:
    given = {"models": ("mean", "ensemble"), "protocol": load_protocol("smoke"), "cohort": "phantom"}
    return Request(**given | {"folds": (0, 1), "seeds": (0, 2)} | more)


def test_through_json_the_runs_are_the_same() -> None:
    asked = request_of(options={"ensemble": {"members": "mean,zscore"}}, healthy=("CN",))
    runs = asked.runs(Silent())
    again = Request.model_validate_json(asked.model_dump_json()).runs(Silent())
    assert [run.eval_key for run in again] == [run.eval_key for run in runs]
    assert len({run.eval_key for run in runs}) == 8
    assert again[-1].all_options["members"] == "mean,zscore"


class Unheard:
    address = "tcp://nowhere:1"

    def log_event(self, topic: str, news: object) -> None:
        assert topic == "t"


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> Order:
    monkeypatch.setattr("distributed.get_worker", Unheard)
    asked = request_of()
    run = asked.runs(Silent())[0]
    return Order(
        request=asked.model_dump_json(), index=0, eval_key=run.eval_key, home=tmp_path, output=tmp_path / "runs",
        cache=own_cache, device="cpu", threads=None, topic="t",
    )  # fmt: skip


def test_a_worker_brings_a_run_to_its_result(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(order.home)
    first, again = (Answer.model_validate_json(worker.perform(order.model_dump_json())) for _ in range(2))
    assert (first.kind, first.reused, again.kind, again.reused) == ("done", False, "done", True)
    assert len(list(order.output.glob("phantom/smoke/mean/fold0-seed0-*/result.json"))) == 1


def test_a_worker_with_other_code_or_scans_refuses(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(order.home)
    told = worker.perform(order.model_copy(update={"eval_key": "0" * 64}).model_dump_json())
    answer = Answer.model_validate_json(told)
    assert answer.kind == "failed" and "install the same on all machines" in answer.text
    assert not order.output.exists()


def test_a_worker_that_does_not_see_the_folder_refuses(order: Order) -> None:
    told = worker.perform(order.model_copy(update={"home": Path("/nowhere/at/all")}).model_dump_json())
    answer = Answer.model_validate_json(told)
    assert answer.kind == "failed" and "share a file system" in answer.text


def test_a_worker_takes_the_secrets_of_the_sweep(order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It means the same run with them, and gets as far as the scans, which are none; without them it refuses."""
    people = [f"sub-{number}" for number in range(60)]
    for name in people:
        (tmp_path / f"{name}.nii.gz").touch()
    rows = [f"{name}\t{name}.nii.gz\tCN" for name in people]
    (tmp_path / "scans.tsv").write_text("\n".join(["participant_id\tpath\tdiagnosis", *rows]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "salts"))
    asked = request_of(cohort=str(tmp_path / "scans.tsv"))
    run = asked.runs(Silent())[0]
    about = {"request": asked.model_dump_json(), "eval_key": run.eval_key}
    texts = []
    for secrets in (None, tmp_path / "none", tmp_path / "salts"):
        monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "others"))
        told = worker.perform(order.model_copy(update=about | {"secrets": secrets}).model_dump_json())
        texts.append(Answer.model_validate_json(told).text)
    assert "different secret of the cohort" in texts[0] and "set UADBENCH_SALTS" in texts[1]
    assert "different secret" not in texts[2] and ".nii.gz" in texts[2]
    (file,) = (tmp_path / "salts").iterdir()
    sent = _blank_order(asked, tmp_path / "runs", "cpu", 1, tmp_path / "salts")
    assert sent.secrets == (tmp_path / "salts").resolve() and file.read_text().strip() not in sent.model_dump_json()


def test_the_cost_of_what_is_left(trained, fold_data, tmp_path: Path) -> None:
    outcome, shared = trained
    output = tmp_path / "runs"  # other tests may have put runs of other models beside it
    shutil.copytree(outcome.folder, output / outcome.folder.relative_to(shared))
    cost = outcome.result.cost
    known = Estimator(output, tmp_path / "no board")
    run = Run("vae3d", fold_data, 7)
    assert known.of(run, "done").seconds == 0
    assert known.of(run, "trained").seconds == pytest.approx(cost.evaluation_seconds)
    estimate = known.of(run, "to do")
    assert estimate.seconds == pytest.approx(cost.train_seconds + cost.evaluation_seconds)
    assert estimate.basis.startswith("smoke on cpu")
    longer = fold_data.protocol.training.model_copy(update={"epochs": 2 * fold_data.protocol.training.epochs})
    other = replace(fold_data, protocol=fold_data.protocol.model_copy(update={"training": longer}))
    twice = known.of(Run("vae3d", other, 7), "to do")
    assert twice.seconds == pytest.approx(2 * cost.train_seconds + cost.evaluation_seconds)
    assert known.of(Run("mean", fold_data, 0), "to do").seconds is None


def test_the_plan_of_every_fold_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["run", "--model", "mean", "--model", "vae3d", "--protocol", "paper-cv", "--dry-run"]
    app([*given, "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 * 8 * 3 and {row["state"] for row in rows} == {"to do"}
    assert {(row["fold"], row["seed"]) for row in rows} == {(fold, seed) for fold in range(8) for seed in range(3)}
    app(given, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "48 runs" in shown and "48 to do" in shown and "their cost is unknown" in shown
    assert not list(tmp_path.iterdir()), "nothing is done"
