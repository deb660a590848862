"""MLflow, for real on sqlite; and a server that is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError, Unfinished
from uadbench.launch.local import run_here
from uadbench.report.figures import draw_figures
from uadbench.runs.keys import Run
from uadbench.runtime.profiling import clock
from uadbench.runtime.progress import Silent
from uadbench.tracking import (
    ANSWER_S,
    EXPERIMENT,
    PING_S,
    Tracker,
    _params,
    chosen_uri,
    database_of,
    default_uri,
    sqlite_uri,
)


class Listens(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def logged(trained, tmp_path_factory: pytest.TempPathFactory):
    from mlflow.tracking import MlflowClient

    outcome, _ = trained
    folder = tmp_path_factory.mktemp("mlflow")
    tracker = Tracker(default_uri(folder), "title", folder)
    draw_figures(outcome.result, outcome.folder)
    run_id = tracker.log(outcome.result, outcome.folder)
    tracker.close()
    assert tracker.has(outcome.result, outcome.folder)
    return MlflowClient(default_uri(folder)), run_id, outcome.result


def test_a_nested_run_holds_everything(logged) -> None:
    client, run_id, result = logged
    run = client.get_run(run_id)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "title"
    assert parent.info.status == run.info.status == "FINISHED"
    assert run.data.params["model"] == "vae3d"
    assert run.data.params["option.latent"] == "32"
    assert run.data.params["protocol_hash"] == result.protocol.hash
    assert run.data.metrics["headline.ap_standard"] == pytest.approx(result.headline.ap_standard)
    assert {artifact.path for artifact in client.list_artifacts(run_id)} >= {
        "result.json",
        "scores.json",
        "scores.parquet",
        "figures",
    }
    names = {Path(artifact.path).name for artifact in client.list_artifacts(run_id, "figures")}
    assert names == {"severity.png", "training.png", "example.png"}
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == f"phantom {Phantom().version}"
    assert client.get_experiment_by_name(EXPERIMENT) is not None


def test_severity_is_the_step(logged) -> None:
    client, run_id, result = logged
    history = {metric.step: metric.value for metric in client.get_metric_history(run_id, "ad.ap.standard")}
    assert set(history) == {30, 50}
    assert history[30] == pytest.approx(result.metric("ad", 0.3, "ap.standard"))
    assert len(client.get_metric_history(run_id, "training.vae")) == 4


def test_a_dead_server_costs_seconds_and_no_score(fold_data, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    progress = Listens()
    tracker = Tracker(f"http://127.0.0.1:{port}", "t", tmp_path)
    with pytest.raises(Unfinished, match=r"MLflow at http://127\.0\.0\.1"):
        tracker.log(None, tmp_path)  # type: ignore[arg-type]
    before = clock.seconds.get("MLflow", 0.0)
    runs = [Run("identity", fold_data, 0), Run("mean", fold_data, 0)]
    sweep = run_here(runs, tmp_path, torch.device("cpu"), tracker, progress)
    assert clock.seconds["MLflow"] - before < PING_S + ANSWER_S
    assert len(sweep.outcomes) == 2
    assert all((outcome.folder / "result.json").is_file() for outcome in sweep.outcomes)
    assert len(progress.warnings) == 1
    assert f"uadbench track {sweep.outcomes[0].folder}" in progress.warnings[0]


def test_a_uri_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give sqlite"):
        Tracker("./mlruns", "t", tmp_path)
    with pytest.raises(InputError, match="give sqlite"):
        Tracker("http://host:abc", "t", tmp_path)


def test_one_failing_run_leaves_the_others(fold_data, tmp_path: Path) -> None:
    progress = Listens()
    runs = [Run("vae3d", fold_data, 0, {"learning_rate": 1e30}), Run("mean", fold_data, 0)]
    sweep = run_here(runs, tmp_path, torch.device("cpu"), None, progress)
    assert [outcome.result.model.name for outcome in sweep.outcomes] == ["mean"]
    assert list(sweep.failures) == ["vae3d, fold 0, seed 0"]
    assert "loss" in next(iter(sweep.failures.values()))


@pytest.mark.parametrize(
    ("option", "variable", "chosen"),
    [
        (None, None, "sqlite:///{output}/mlflow.db"),
        (None, "", "sqlite:///{output}/mlflow.db"),
        (None, "http://there:5000", "http://there:5000"),
        ("sqlite:///here.db", "http://there:5000", "sqlite:///here.db"),
        ("none", "http://there:5000", None),
    ],
)
def test_the_option_comes_before_the_environment(option, variable, chosen, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    assert chosen_uri(option, tmp_path) == (chosen and chosen.format(output=tmp_path.resolve()))


@pytest.mark.slow
def test_run_and_track_log_where_the_environment_says(trained, tmp_path: Path, monkeypatch, capsys) -> None:
    from uadbench.cli.main import app

    uri = sqlite_uri(tmp_path / "elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    outcome, output = trained
    app(["run", "--model", "vae3d", "--protocol", "smoke", "--output", str(output)], standalone_mode=False)
    printed = capsys.readouterr()
    assert f"results are logged to {uri} (MLFLOW_TRACKING_URI)" in printed.err.replace("\n", " ")
    assert (tmp_path / "elsewhere.db").is_file() and not (output / "mlflow.db").exists()
    app(["track", str(outcome.folder)], standalone_mode=False)
    assert f"logged to {uri} (MLFLOW_TRACKING_URI), run " in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["a?b", "a%20b", "100%"])
def test_a_folder_that_an_address_cannot_name_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    for given in (None, f"sqlite:///{tmp_path / name}/x.db"):
        with pytest.raises(InputError, match="cannot hold"):
            chosen_uri(given, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a#b", "a b", "d'été", 'q"'])
def test_the_database_lies_in_its_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "mlflow.db"
    assert database_of(sqlite_uri(file)) == file


def test_an_option_steers_no_page_of_mlflow(trained) -> None:
    model = trained[0].result.model.model_copy(update={"options": {"label": "a\u202eb\x1b[31m"}})
    result = trained[0].result.model_copy(update={"model": model})
    assert {each.key: each.value for each in _params(result)}["option.label"] == "a?b?[31m"


def test_a_folder_whose_name_means_something_in_addresses(trained, tmp_path: Path) -> None:
    output = tmp_path / "a#b d'été"
    tracker = Tracker(default_uri(output), "t", output)
    tracker.log(trained[0].result, trained[0].folder)
    tracker.close()
    assert tracker.has(trained[0].result, trained[0].folder)
    assert (output / "mlflow.db").is_file() and list(tmp_path.iterdir()) == [output]
