"""Signals that stop a run: one line, 128 and the signal's number, no process left, and the same command continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import MINE, SMOKE, hashes_of, one_error, require_whole
from uadbench.runtime.claims import claim

pytestmark = pytest.mark.nightly

FOLDER = "WAITS_IN"
RUN = (*SMOKE, "--model", f"{MINE}:Waits")
DASK = ("--launcher", "dask", "--workers", "2", "--threads", "1")
HEEDED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""What a shell runs in the background ignores Ctrl-C."""
LONG = 600.0
"""Seconds after which a process is taken to hang, however busy the machine is."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which `Waits` says that it learns, and waits for `go`."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


def until_it_learns(held: Path, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not (held / "learns").exists():
        assert not ended() and time.monotonic() < deadline
        time.sleep(0.02)


def claim_of(output: Path) -> AbstractContextManager[None]:
    """Hold the run that a stopped run was at."""
    (lock,) = (output / "phantom" / "smoke" / "Waits").glob(".*.lock")
    return claim(lock.with_name(lock.stem.removeprefix(".")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.fault("signal {number} during a run")
def test_stopped(number: signal.Signals, nursery, held: Path, tmp_path: Path, outcome) -> None:
    output = tmp_path / "runs"
    command = (*RUN, "--output", output)
    child = nursery.start(*command, before=HEEDED, **{FOLDER: held})
    until_it_learns(held, lambda: child.ends_within(0))
    os.kill(child.pid, number)
    code, _, err = child.ended()
    assert code == 128 + number, err
    assert one_error(err).startswith(f"error: stopped by {number.name}; give the same command again")
    require_whole(output)
    with claim_of(output):  # which nobody holds
        pass
    if number == signal.SIGTERM:
        (held / "go").touch()
        code, _, err = nursery.start(*command, **{FOLDER: held}).ended()
        assert code == 0 and hashes_of(output).keys() == {"Waits"}, err
    outcome(f"{number.name}: one line, exit code {128 + number}, no lock left, and the same command continues")


@pytest.mark.fault("SIGHUP under nohup")
def test_nohup(nursery, held: Path, tmp_path: Path, outcome) -> None:
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    child = nursery.start(*RUN, "--output", tmp_path, before=ignored, **{FOLDER: held})
    until_it_learns(held, lambda: child.ends_within(0))
    os.kill(child.pid, signal.SIGHUP)
    (held / "go").touch()
    code, _, err = child.ended()
    assert code == 0, err
    assert hashes_of(tmp_path).keys() == {"Waits"}
    outcome("ignored: the run goes on to its end")


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGHUP"], ["SIGINT", "SIGINT"]], ids=" ".join)
@pytest.mark.fault("{signals} to the process group of a run on two workers")
def test_stopped_with_workers(signals: list[str], held: Path, tmp_path: Path, outcome) -> None:
    """A terminal, or Slurm, signals every process of the group. The second signal may come when all has ended."""
    command = [sys.executable, "-c", f"{HEEDED}; from uadbench.cli.main import main; main()", *RUN, *DASK]
    with (tmp_path / "told").open("wb") as told:
        process = subprocess.Popen(
            [*command, "--output", "runs"], cwd=tmp_path, stdout=told, stderr=told, start_new_session=True
        )
    try:
        until_it_learns(held, lambda: process.poll() is not None)
        children = psutil.Process(process.pid).children(recursive=True)
        for name in signals:
            if process.poll() is None:
                os.killpg(process.pid, signal.Signals[name])
        number = signal.Signals[signals[0]]
        assert process.wait(LONG) in (128 + number, -number)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _, alive = psutil.wait_procs(children, timeout=LONG)
    assert not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    if len(signals) == 1:
        assert one_error((tmp_path / "told").read_text()).startswith(f"error: stopped by {number.name}")
    outcome("ends, and no process is left")
