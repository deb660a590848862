"""Runs in this process: left to whoever works on them, ended where they do not end, recorded where they fail."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from uadbench.errors import Unfinished
from uadbench.launch.local import run_here
from uadbench.models.mean import Mean
from uadbench.runs import failures, fit
from uadbench.runs.keys import Run
from uadbench.runtime import claims
from uadbench.runtime.progress import Silent

CPU = torch.device("cpu")


class Listens(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def notice(self, text: str) -> None:
        self.told.append(text)

    warning = notice


def test_a_run_that_another_process_works_on_is_left_to_it(fold_data, tmp_path: Path) -> None:
    runs = [Run("mean", fold_data, 0), Run("identity", fold_data, 0)]
    held, progress, order = threading.Event(), Listens(), []

    def works_on_it() -> None:
        with claims.claim(runs[0].folder(tmp_path)):
            held.set()
            while "identity" not in order:
                time.sleep(0.01)

    other = threading.Thread(target=works_on_it)
    other.start()
    held.wait()
    sweep = run_here(
        runs, tmp_path, CPU, None, progress, on_result=lambda outcome: order.append(outcome.result.model.name)
    )
    other.join()
    assert order == ["identity", "mean"], "what is free comes first"
    assert [outcome.result.model.name for outcome in sweep.outcomes] == ["mean", "identity"], "told in their order"
    assert sum("mean, fold 0, seed 0: another process" in line for line in progress.told) == 1


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom uadbench.runtime.claims import claim\n"
        f"with claim(Path({str(tmp_path / 'run')!r})):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(claims.Claimed), claims.claim(tmp_path / "run"):
        pass
    process.kill()
    process.wait()
    with claims.claim(tmp_path / "run"):
        pass


def test_where_files_cannot_be_locked_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker instead would stay where its process was killed, and nobody would take the run again."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    with claims.claim(tmp_path / "run"), claims.claim(tmp_path / "run"):
        pass


def test_a_model_that_hangs_has_failed(fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(self: Mean, batches: object) -> None:
        while True:
            try:
                time.sleep(600)
            except Exception:  # what catches all errors is interrupted all the same
                continue

    monkeypatch.setattr(Mean, "fit", hangs)
    runs = [Run("mean", fold_data, 0), Run("identity", fold_data, 0)]
    run_here(runs[1:], tmp_path, CPU, None, Silent())  # on a busy machine even this takes longer than the limit
    sweep = run_here(runs, tmp_path, CPU, None, Silent(), limit_s=0.5)
    assert sweep.failures == {"mean, fold 0, seed 0": "took longer than the 0.5 s that --time-limit grants"}
    assert [outcome.result.model.name for outcome in sweep.outcomes] == ["identity"]


def test_a_failure_stays_until_the_run_succeeds(fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("mean", fold_data, 0)
    folder = run.folder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "save_model", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # alone, its error is the command's
            run_here([run], tmp_path, CPU, None, Silent())
    recorded = failures.recorded(folder)
    assert recorded is not None and recorded.error == "ZeroDivisionError: division by zero" and recorded.attempts == 1
    assert run.state(tmp_path) == "failed"
    run_here([run], tmp_path, CPU, None, Silent())
    assert run.state(tmp_path) == "done" and not (folder / "failure.json").exists()


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b'{"error": 1}', b"\xff"):
        (tmp_path / failures.FAILURE).write_bytes(content)
        assert failures.recorded(tmp_path) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:120] err == 0. DefaultCPUAllocator: can't allocate memory: 9 bytes"
        ),
    ],
)
def test_want_of_memory_is_called_so(error: Exception) -> None:
    assert failures.reason(error).startswith("out of memory (") and "give it more memory" in failures.reason(error)


def test_other_errors_are_called_by_their_class() -> None:
    assert failures.reason(KeyError("x")) == "KeyError: 'x'"
    assert failures.reason(Unfinished("the disk is full")) == "the disk is full"


def test_what_a_model_prints_is_no_output(fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    fit = Mean.fit
    monkeypatch.setattr(Mean, "fit", lambda self, batches: print("hello") or fit(self, batches))
    run_here([Run("mean", fold_data, 0)], tmp_path, CPU, None, Silent())
    captured = capsys.readouterr()
    assert captured.out == "" and "hello" in captured.err


def test_threads_are_as_asked_and_restored(tmp_path: Path) -> None:
    from uadbench.cli.main import main

    before = torch.get_num_threads()
    output = tmp_path / "runs"
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--model", "mean", "--protocol", "smoke", "--threads", "3", "--output", str(output),
              "--tracking-uri", "none"])  # fmt: skip
    assert not stopped.value.code and torch.get_num_threads() == before
    (result,) = output.rglob("result.json")
    assert json.loads(result.read_text())["provenance"]["threads"] == 3
