"""Sweeps through a real Slurm: equal to a run in one process, also when a job is cancelled in mid-run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cluster.slurm_node import NoSlurm, jobs, slurm_node
from uadbench.results.schema import read_result

pytestmark = pytest.mark.nightly
Sweep = AbstractContextManager[subprocess.Popen[str]]
WAIT_S = 600
MODEL = '''
"""A noisy mean, other for each seed, which says in which job it is fitted, and waits there until it may go on."""

import os
import time
from pathlib import Path

import torch

from uadbench.models.mean import Mean


class Waiting(Mean):
    def fit(self, batches):
        told = Path(os.environ["TOLD"])
        (told / os.environ.get("SLURM_JOB_ID", "none")).touch()
        while not (told / "go").exists():
            time.sleep(0.1)
        super().fit(batches)
        self.mean += 0.05 * torch.randn_like(self.mean)
'''
WAITING = "./waiting.py:Waiting"
CHEAP = (WAITING, "zscore", "pca_recon")
"""The one that waits comes first, so that each of two workers is in a run of it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all commands are given."""
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "waiting.py").write_text(MODEL, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[Path]:
    """The Slurm of these tests; they are skipped where there is none."""
    try:
        with slurm_node() as folder:
            yield folder
    except NoSlurm as why:
        pytest.skip(f"no Slurm: {why}")


@pytest.fixture(scope="module")
def alone(home: Path, node: Path) -> dict[str, str]:
    """Score hashes of the same runs, run one after the other in one process."""
    told = home / "alone-told"
    told.mkdir()
    (told / "go").touch()
    with sweep(home, told, *CHEAP, "--launcher", "local", "--output", "alone") as process:
        assert process.wait(WAIT_S) == 0
    return hashes(home / "alone")


@contextmanager
def sweep(home: Path, told: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`uadbench run` with two seeds of each model, as a process; what it prints is shown where a test fails."""
    models = [word for model in arguments if model in CHEAP for word in ("--model", model)]
    rest = [word for word in arguments if word not in CHEAP]
    command = [str(Path(sys.executable).with_name("uadbench")), "run", *models, *rest]
    command += ["--protocol", "smoke", "--seed", "0,1", "--tracking-uri", "none"]
    environment = os.environ | {"TOLD": str(told), "OMP_NUM_THREADS": "1"}
    log = told / "printed.log"
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
    with log.open("w") as printed:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=printed, stderr=printed, text=True)
    signal.signal(signal.SIGINT, former)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        print(log.read_text())


def on_slurm(home: Path, name: str, *arguments: str, slurm: str = "partition=debug,time=10m") -> Sweep:
    """A sweep of two jobs into the folder `name`."""
    told = home / f"{name}-told"
    told.mkdir()
    return sweep(home, told, *arguments, "--launcher", "dask", "--workers", "2", "--slurm", slurm, "--output", name)


def hashes(output: Path) -> dict[str, str]:
    """Run folder -> score hash, of every result in an output folder."""
    found = output.glob("phantom/smoke/*/fold*/result.json")
    return {str(file.parent.relative_to(output)): read_result(file.parent).score_hash for file in found}


def wait(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Until it is so; the sweep must go on meanwhile."""
    until = time.monotonic() + WAIT_S
    while not ready():
        assert process.poll() is None, f"the sweep ended with code {process.returncode}"
        assert time.monotonic() < until, f"not within {WAIT_S} s"
        time.sleep(0.2)


def working(told: Path) -> set[str]:
    """The jobs of Slurm in which a run of the model that waits was begun."""
    return {file.name for file in told.iterdir() if file.name.isdecimal()}


def left_in_the_queue() -> list[str]:
    """Jobs that do not end; one that was cancelled may take some seconds."""
    until = time.monotonic() + WAIT_S
    while jobs() and time.monotonic() < until:
        time.sleep(0.2)
    return jobs()


def test_runs_are_computed_in_jobs_and_equal_those_of_one_process(home: Path, alone: dict[str, str]) -> None:
    told = home / "jobs-told"
    slurm = "partition=debug,time=10m,cpus=2,gpus=1,memory=3GB"
    with on_slurm(home, "jobs", *CHEAP, "--threads", "1", slurm=slurm) as process:
        wait(process, lambda: len(working(told)) == 2)
        assert working(told) == set(jobs("--states=running"))
        columns = "--Format=Partition,NumCPUs,tres-per-node,tres-per-job,MinMemory,TimeLimit"
        asked = subprocess.run(["squeue", "--noheader", columns], capture_output=True, text=True, check=True).stdout
        for job in asked.splitlines():
            assert {"debug", "2", "gres:gpu:1", "3G", "10:00"} <= set(job.split())
        (told / "go").touch()
        assert process.wait(WAIT_S) == 0
    assert len(alone) == 6
    assert len({score_hash for folder, score_hash in alone.items() if "/Waiting/" in folder}) == 2
    assert hashes(home / "jobs") == alone
    assert left_in_the_queue() == []


def test_a_job_that_is_cancelled_is_replaced_and_nothing_is_lost(home: Path, alone: dict[str, str]) -> None:
    told = home / "cancelled-told"
    with on_slurm(home, "cancelled", WAITING, "zscore") as process:
        wait(process, lambda: len(working(told)) == 2)
        first = min(working(told), key=int)
        subprocess.run(["scancel", first], check=True)
        wait(process, lambda: len(working(told)) == 3)  # the run is begun again, in a job that took its place
        assert first not in jobs("--states=running")
        (told / "go").touch()
        assert process.wait(WAIT_S) == 0
    found = hashes(home / "cancelled")
    assert len(found) == 4
    assert found.items() <= alone.items()
    assert left_in_the_queue() == []


def test_a_sweep_that_is_stopped_leaves_no_job_behind(home: Path) -> None:
    told = home / "stopped-told"
    with on_slurm(home, "stopped", WAITING) as process:
        wait(process, lambda: len(working(told)) > 0)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 130
    assert "give the same command again" in (told / "printed.log").read_text()
    assert left_in_the_queue() == []


@pytest.mark.parametrize(
    ("slurm", "why"),
    [("partition=nosuch", "nvalid partition"), ("partition=debug,gpus=9", "node configuration is not available")],
)
def test_what_slurm_refuses_is_told_in_one_line(home: Path, slurm: str, why: str) -> None:
    name = f"refused-{slurm.partition('=')[2]}"
    with on_slurm(home, name, WAITING, slurm=slurm) as process:
        assert process.wait(WAIT_S) == 2
    last = (home / f"{name}-told" / "printed.log").read_text().strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert why in last
