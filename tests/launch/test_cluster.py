"""Sweeps over real worker processes: killed, stopped, resumed, and always with the scores of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from tests.launch import waiting
from uadbench.results.schema import read_result

pytestmark = pytest.mark.slow

WAITING = f"{waiting.__file__}:Waiting"
MAIN = "from uadbench.cli.main import main; main()"
TWELVE = {"models": ("mean", "zscore", "pca_recon", WAITING), "seeds": "0,1,2"}
LEFT = "another process is working on this run"
LONG = 1200.0
"""Seconds after which a sweep is taken to hang, however busy the machine is."""

FAULTY = """
import time
from uadbench.models.base import Model

class Hangs(Model):
    learns_by_gradients = False

    def fit(self, batches):
        print("this is no JSON")
        time.sleep(10_000)

class Raises(Model):
    learns_by_gradients = False

    def fit(self, batches):
        raise RuntimeError("a wire came loose")
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, and in workers, whose scores are compared."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which `Waiting` says where it learns, and waits for `go`."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setenv(waiting.FOLDER, str(folder))
    return folder


def learning(held: Path) -> list[int]:
    """The processes in which a training of `Waiting` was begun."""
    return [int(file.name) for file in held.iterdir() if file.name.isdecimal()]


def command(output: Path, *more: str, models: tuple[str, ...], seeds: str = "0") -> list[str]:
    names = [part for model in models for part in ("--model", model)]
    given = ["run", *names, "--seed", seeds, "--protocol", "smoke", "--output", str(output)]
    return [sys.executable, "-c", MAIN, *given, "--tracking-uri", "none", *more]


@contextmanager
def begun(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command under way, whose stderr is in the file `told`; killed with its workers where it does not end."""
    with (folder / "told").open("w") as told:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=told, text=True, cwd=folder)
    try:
        yield process
    finally:
        for child in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()


def until(condition, process: subprocess.Popen[str], folder: Path):
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if found := condition():
            return found
        if process.poll() is not None:
            break
        time.sleep(0.02)
    pytest.fail(f"it did not happen: {(folder / 'told').read_text()}")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes in which runs are computed."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def hashes(output: Path) -> dict[str, str]:
    return {
        f"{result.model.name} {result.seed}": result.score_hash
        for result in (read_result(file.parent) for file in output.glob("*/*/*/fold*/result.json"))
    }


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The score hashes of the twelve runs, run one after the other by one process; once for all of pytest-xdist's."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "undisturbed-sweep"
    with FileLock(f"{folder}.lock"):
        if not (found := hashes(folder)):
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            told = subprocess.run(
                command(folder, **TWELVE), capture_output=True, text=True, check=False, env=environment
            )
            assert told.returncode == 0, told.stderr
            found = hashes(folder)
    return found


def test_twelve_runs_on_two_workers_one_of_which_is_killed(
    undisturbed: dict[str, str], held: Path, tmp_path: Path
) -> None:
    sweep = command(tmp_path / "runs", "--launcher", "dask", "--workers", "2", "--threads", "1", **TWELVE)
    with begun(sweep, tmp_path) as process:
        victim = until(lambda: learning(held), process, tmp_path)[0]
        assert victim in [worker.pid for worker in workers_of(process)]
        os.kill(victim, signal.SIGKILL)
        (held / waiting.GO).touch()
        process.communicate(timeout=LONG)
    told = (tmp_path / "told").read_text()
    assert process.returncode == 0, told
    assert "retrying" in told and "Traceback" not in told, told
    assert hashes(tmp_path / "runs") == undisturbed and len(undisturbed) == 12
    assert not list((tmp_path / "runs").glob("**/failure.json"))


DASK = ("--launcher", "dask", "--workers", "2", "--threads", "1", "--json")


def ended(arguments: list[str], folder: Path) -> tuple[dict[str, Any], str]:
    """What a sweep with failures prints: its document, and its last line."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout), done.stderr.strip().splitlines()[-1]


def test_what_raises_or_hangs_is_recorded_and_the_rest_goes_on(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """The limit is short, and so for the run that hangs alone: on a busy machine any other takes longer."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    output, models = tmp_path / "runs", ("./faulty.py:Hangs", "./faulty.py:Raises", "mean")
    told, last = ended(command(output, *DASK, "--retries", "1", models=models[1:]), tmp_path)
    assert last.startswith("error: 1 of 2 runs have no result:") and "RuntimeError: a wire came loose" in last
    assert [found["result"]["model"]["name"] for found in told["results"]] == ["mean"] and len(told["failures"]) == 1
    assert hashes(output)["mean 0"] == undisturbed["mean 0"]
    told, last = ended(command(output, *DASK, "--time-limit", "2s", models=(models[0], models[2])), tmp_path)
    assert last.startswith("error: 1 of 2 runs have no result:") and "took longer than the 2 s" in last
    assert [found["result"]["model"]["name"] for found in told["results"]] == ["mean"] and len(told["failures"]) == 1
    recorded = {file.parts[-3]: json.loads(file.read_text()) for file in tmp_path.glob("runs/*/*/*/fold*/failure.json")}
    assert recorded["Raises"]["attempts"] == 2 and recorded["Hangs"]["attempts"] == 1
    planned = subprocess.run(
        command(output, "--dry-run", "--json", models=models), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    states = {row["model"]: (row["state"], row["error"]) for row in json.loads(planned.stdout)}
    assert states["mean"] == ("done", "")
    assert states["Raises"] == ("failed", "RuntimeError: a wire came loose")


def test_stopped_by_the_keyboard_and_resumed(undisturbed: dict[str, str], held: Path, tmp_path: Path) -> None:
    sweep = command(tmp_path / "runs", "--launcher", "dask", "--workers", "2", models=(WAITING, "mean"))
    with begun(sweep, tmp_path) as process:
        until(lambda: learning(held), process, tmp_path)
        workers = workers_of(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONG)
    told = (tmp_path / "told").read_text().strip().splitlines()
    assert process.returncode == 130 and told[-1].startswith("error: stopped by SIGINT; give the same command again"), (
        told
    )
    assert not any("Traceback" in line for line in told), told
    psutil.wait_procs(workers, timeout=LONG)
    assert not [worker for worker in workers if worker.is_running()]
    (held / waiting.GO).touch()
    again = subprocess.run(sweep, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert hashes(tmp_path / "runs") == {name: undisturbed[name] for name in ("Waiting 0", "mean 0")}


@contextmanager
def dask_cluster(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A scheduler and two workers, started as a user starts them; yields the scheduler."""
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    processes = [subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], **quiet)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    processes += [subprocess.Popen([*worker, "--death-timeout", "120"], **quiet) for _ in range(2)]
    try:
        yield processes[0]
    finally:
        for process in processes:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for each in family:
                each.kill()
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_scheduler_is_killed_and_the_sweep_resumed(undisturbed: dict[str, str], held: Path, tmp_path: Path) -> None:
    port = free_port()
    sweep = command(
        tmp_path / "runs", "--launcher", "dask", "--scheduler", f"tcp://127.0.0.1:{port}", "--threads", "1",
        models=("mean", WAITING),
    )  # fmt: skip
    with dask_cluster(tmp_path, port) as scheduler, begun(sweep, tmp_path) as process:
        until(lambda: learning(held), process, tmp_path)
        scheduler.kill()
        process.communicate(timeout=LONG)
        last = (tmp_path / "told").read_text().strip().splitlines()[-1]
        assert process.returncode == 3 and "connection to the Dask scheduler lost" in last, last
    (held / waiting.GO).touch()
    with dask_cluster(tmp_path, port):
        again = subprocess.run(sweep, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=LONG)
    assert again.returncode == 0, again.stderr
    assert hashes(tmp_path / "runs") == {name: undisturbed[name] for name in ("Waiting 0", "mean 0")}


def test_no_scheduler_is_one_line(tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    done = subprocess.run(
        command(tmp_path, "--launcher", "dask", "--scheduler", address, models=("mean",)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: --scheduler {address}: no Dask scheduler answers")


def test_two_sweeps_at_once_share_an_output_folder(undisturbed: dict[str, str], held: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    sweep = command(tmp_path / "runs", "--json", models=(WAITING, "mean", "zscore"))

    def told() -> list[str]:
        return [(folder / "told").read_text() for folder in folders]

    with begun(sweep, folders[0]) as one, begun(sweep, folders[1]) as other:
        until(lambda: learning(held) and any(LEFT in text for text in told()), one, folders[0])
        (held / waiting.GO).touch()
        answers = [json.loads(process.communicate(timeout=LONG)[0]) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    names = [[found["result"]["model"]["name"] for found in answer["results"]] for answer in answers]
    assert names == [["Waiting", "mean", "zscore"]] * 2
    assert hashes(tmp_path / "runs") == {name: undisturbed[name] for name in ("Waiting 0", "mean 0", "zscore 0")}
    assert sum(text.count("training Waiting: 0 of") for text in told()) == len(learning(held)) == 1, "one trained it"
