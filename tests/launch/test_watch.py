"""How a sweep over a cluster counts what happens to its workers, told by a scheduler that does as it is bid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uadbench.errors import Unfinished
from uadbench.launch import cluster
from uadbench.launch.backend import Backend
from uadbench.launch.cluster import _blank_order, _Job, _Watch
from uadbench.launch.plan import Request
from uadbench.launch.sweep import Sweep
from uadbench.launch.worker import Answer
from uadbench.protocols.schema import load_protocol
from uadbench.runs import failures
from uadbench.runs.fit import ANEW
from uadbench.runs.keys import Run
from uadbench.runtime.claims import claim
from uadbench.runtime.progress import Silent


class Future:
    """What a hand-out came to, as soon as somebody asks to be told."""

    def __init__(self, play: Any = lambda future: None) -> None:
        self.play, self.status, self.answer = play, "pending", ""

    def add_done_callback(self, tell: Any) -> None:
        self.play(self)
        if self.status != "pending":
            tell(self)

    def ends(self, answer: Answer | Exception) -> None:
        raised = isinstance(answer, Exception)
        self.status, self.answer = ("error", answer) if raised else ("finished", answer.model_dump_json())

    def result(self) -> Any:
        return self.answer

    exception = result

    def cancel(self) -> None:
        self.status = "cancelled"


class Client:
    """A scheduler with one worker, in which each hand-out goes as the next line of a script says."""

    def __init__(self, script: list[Any]) -> None:
        self.script, self.status = script, "running"
        self.stopped: list[str] = []
        self.handed = self.looks = 0

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        self.looks += 1
        assert self.looks < MOST_LOOKS, "the sweep waits for what never comes"
        return {"workers": {"w": {"resources": {}}}}

    def subscribe_topic(self, topic: str, hear: Any) -> None:
        self.hear = hear

    def submit(self, function: Any, order: str, **how: Any) -> Future:
        self.handed += 1
        return Future(self.play)

    def play(self, future: Future) -> None:
        for step in self.script.pop(0):
            if isinstance(step, str):
                kind, _, worker = step.partition(" ")
                self.hear((0.0, {"index": 0, "kind": kind, "worker": worker, "host": f"host of {worker}"}))
            else:
                future.ends(step)

    def restart_workers(self, addresses: list[str], **how: Any) -> None:
        self.stopped += addresses


MOST_LOOKS = 300


class KilledWorker(Exception):
    """As distributed's is called."""


CLAIMED = Answer(kind="claimed")
BROKEN = Answer(kind="broken", text="a wire came loose")


@pytest.fixture
def watched(fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Watch one run whose hand-outs go as the script says: (the sweep, the client, the failure on record)."""
    monkeypatch.setattr(cluster, "CLAIMED_S", 0.0)
    monkeypatch.setattr(cluster, "TICK_S", 0.01)

    def watch(script: list[Any], *, retries: int, fresh: bool = False):
        run, client = Run("mean", fold_data, 0), Client(script)
        request = Request(
            models=("mean",), protocol=load_protocol("smoke"), cohort="phantom", folds=(0,), seeds=(0,)
        )  # fmt: skip
        order = _blank_order(request, tmp_path, "cpu", 1, None).model_copy(update={"index": 0})
        sweep = Sweep(tmp_path, None, Silent())
        backend = Backend(scheduler="tcp://nowhere:1")
        _Watch(client, backend, [_Job(run, order, fresh)], sweep, fresh, 10.0, retries).run()  # type: ignore[arg-type]
        assert not script, "all of it came to pass"
        return sweep, client, failures.recorded(run.folder(tmp_path))

    return watch


@pytest.mark.parametrize("retries", [0, 2])
def test_deaths_are_counted_and_the_last_worker_is_stopped(watched, retries: int) -> None:
    """Whether a model's code had begun to run there, or the worker was killed before."""
    lives = [["taken w0", "begun w0"], ["taken w1"], ["taken w2", "begun w2"]]
    script = [step for life in lives[: retries + 1] for step in life] + ["taken w9"]
    _, client, failure = watched([script], retries=retries)
    assert failure.error.startswith("the worker died (") and failure.attempts == retries + 1
    assert client.stopped == ["w9"], "where Dask has begun it again"


def test_an_impatient_scheduler_does_not_shorten_the_retries(watched) -> None:
    gone = KilledWorker("four workers in a row")
    _, client, failure = watched([["taken w0", gone], ["taken w1", gone], [gone]], retries=2)
    assert client.handed == 3 and failure.attempts == 3


def test_what_another_sweep_works_on_is_no_attempt_and_forgives_none(watched) -> None:
    script = [["taken w", BROKEN], ["taken w", CLAIMED], ["taken w", CLAIMED], ["taken w", BROKEN]]
    _, client, failure = watched(script, retries=1)
    assert client.handed == 4 and failure.attempts == 2 and failure.error == "a wire came loose"


def test_what_is_there_is_forgotten_once(watched, fold_data, tmp_path: Path) -> None:
    folder = Run("mean", fold_data, 0).folder(tmp_path)
    kept = folder / "training.safetensors"

    class Works(list[Any]):
        """A first attempt that gets somewhere, and a second one."""

        def __init__(self, first: bool) -> None:
            super().__init__(["taken w", BROKEN])
            self.first = first

        def __iter__(self):
            assert (folder / ANEW).is_file() and not (folder / "old").exists()
            assert kept.exists() != self.first
            kept.touch()
            return super().__iter__()

    folder.mkdir(parents=True)
    (folder / "old").touch()
    watched([Works(True), Works(False)], retries=1, fresh=True)


def test_nothing_is_forgotten_that_another_sweep_works_on(watched, fold_data, tmp_path: Path, monkeypatch) -> None:
    folder = Run("mean", fold_data, 0).folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "theirs").touch()
    looks: list[bool] = []
    held = claim(folder)
    held.__enter__()

    def postpone(watch: _Watch, job: _Job) -> None:
        looks.append((folder / "theirs").exists())
        held.__exit__(None, None, None)
        watch.waiting.append(job)

    monkeypatch.setattr(_Watch, "_postpone", postpone)
    watched([["taken w", BROKEN]], retries=0, fresh=True)
    assert looks == [True] and not (folder / "theirs").exists()


def test_a_lost_scheduler_says_how_to_go_on(watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(lost: Client, function: Any, order: str, **how: Any) -> Future:
        lost.status = "closed"
        return Future()

    monkeypatch.setattr(Client, "submit", submit)
    with pytest.raises(Unfinished, match="1 run not done; give the same command again, without --fresh,"):
        watched([], retries=0, fresh=True)
