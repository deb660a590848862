"""What a worker of a Dask cluster does: bring one run to its result, and tell how far it is."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from uadbench.errors import InputError, UadbenchError
from uadbench.runtime.progress import Task

TOLD_EVERY_S = 1.0

News = dict[str, Any]
"""What a worker tells of a run: `kind` is taken, begun (the model's code runs), task, step, notice or warning."""


class Order(BaseModel):
    """One run, as plain data.

    Attributes:
        request: What was asked for (`launch.plan.Request`), as JSON.
        index: Which of its runs.
        eval_key: The key of that run, by which a worker sees that it means the same.
        home: The folder in which the command was given, from which paths are told.
        output: Where run folders lie.
        cache: The cache of scans, which is used where the worker sees it.
        secrets: Where the secrets of private cohorts lie; None where there is no private cohort.
        device: As on the command line; "auto" is the worker's own GPU where it has one.
        threads: Of torch; None leaves it to the worker's environment.
        topic: Under which Dask passes on what is told.
    """

    model_config = ConfigDict(frozen=True)

    request: str
    index: int
    eval_key: str
    home: Path
    output: Path
    cache: Path
    secrets: Path | None = None
    device: str
    threads: int | None
    topic: str


class Answer(BaseModel):
    """How a run ended: with its result on disk (`done`), left to another sweep that works on it (`claimed`), refused
    or failed for a known reason (`failed`), or with an error that may not come again (`broken`).
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["done", "claimed", "failed", "broken"]
    text: str = ""
    reused: bool = False
    host: str = ""


def perform(order: str) -> str:
    """Work on the run of an Order, given and answered as JSON. Raises nothing: an error is an answer."""
    from uadbench.runs.failures import reason
    from uadbench.runtime.claims import Claimed

    asked = Order.model_validate_json(order)
    try:
        with _alone:
            reused = _perform(asked)
        answer = Answer(kind="done", reused=reused)
    except Claimed:
        answer = Answer(kind="claimed")
    except UadbenchError as error:
        answer = Answer(kind="failed", text=reason(error), host=socket.gethostname())
    except (Exception, SystemExit) as error:  # a model may be anybody's code
        answer = Answer(kind="broken", text=reason(error), host=socket.gethostname())
    return answer.model_dump_json()


_alone = threading.Lock()
"""Runs draw from torch's generator, which a process has one of: however many threads, one run at a time."""


def _perform(order: Order) -> bool:
    _wire.connect(order)
    _wire.tell(kind="taken")
    import torch
    from threadpoolctl import threadpool_limits

    from uadbench.launch.local import choose_device, prepare_process
    from uadbench.launch.sweep import draw
    from uadbench.runs.run import complete

    if order.threads is not None:
        torch.set_num_threads(order.threads)
        threadpool_limits(order.threads)  # NumPy has threads of its own
    if order.cache.is_dir():
        os.environ["UADBENCH_CACHE"] = str(order.cache)
    for folder in (order.home, order.secrets):
        if folder is not None and not folder.is_dir():
            raise InputError(
                f"{socket.gethostname()} does not see {folder}: the machines of a cluster share a file system"
                + ("; set UADBENCH_SALTS to a folder that all of them see" if folder == order.secrets else "")
            )
    if order.secrets is not None:
        os.environ["UADBENCH_SALTS"] = str(order.secrets)
    os.chdir(order.home)
    prepare_process()
    if _runs(order.request, order.home)[order.index].eval_key != order.eval_key:
        _runs.cache_clear()  # scans may have come since
    run = _runs(order.request, order.home)[order.index]
    if run.eval_key != order.eval_key:
        raise InputError(
            f"{socket.gethostname()} means another run: it has another version of uadbench or of the model's code, or "
            "sees other scans, other files that the model reads, or another secret of the cohort; install the same on "
            "all machines, and start workers anew that are older than that"
        )
    _wire.tell(kind="begun")
    with redirect_stdout(sys.stderr):
        outcome = complete(run, order.output, choose_device(order.device), _wire)
    draw(outcome, _wire)
    return outcome.reused


@lru_cache(maxsize=1)
def _runs(request: str, home: Path) -> list[Any]:
    """The runs of a request; those of a fold share their scans, from one order to the next."""
    from uadbench.launch.plan import Request

    with _wire.muted():
        return Request.model_validate_json(request).runs(_wire)


class _Wire:
    """Progress that is told to the process of the sweep, through Dask's events."""

    def __init__(self) -> None:
        self._send: Callable[[News], None] = lambda news: None
        self._quiet = False

    def connect(self, order: Order) -> None:
        from distributed import get_worker

        worker = get_worker()
        about = {"index": order.index, "worker": worker.address, "host": socket.gethostname()}
        self._send = lambda news: worker.log_event(order.topic, about | news)

    @contextmanager
    def muted(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def tell(self, **news: Any) -> None:
        if not self._quiet:
            self._send(news)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        self.tell(kind="task", label=label, total=total)
        yield _WireTask(self, label, total)

    def notice(self, text: str) -> None:
        self.tell(kind="notice", text=text)

    def warning(self, text: str) -> None:
        self.tell(kind="warning", text=text)


class _WireTask:
    def __init__(self, wire: _Wire, label: str, total: int) -> None:
        self.wire, self.label, self.total = wire, label, total
        self.done = 0
        self.told = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if self.done >= self.total or now - self.told >= TOLD_EVERY_S:
            self.told = now
            self.wire.tell(kind="step", label=self.label, total=self.total, done=self.done, note=note)


_wire = _Wire()
