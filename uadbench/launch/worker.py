"""Code that runs on a Dask worker: completes one run and reports its progress."""

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

REPORT_EVERY_S = 1.0
"""Shortest time between two progress reports, in seconds."""

News = dict[str, Any]
"""A worker's report on a run; `kind` is taken, begun (the model's code runs), task, step, notice or warning."""


class Order(BaseModel):
    """A run to be computed, as plain data.

    Attributes:
        request: The request (`launch.plan.Request`), as JSON.
        index: Index of the run among those of the request.
        eval_key: Key of the run, by which a worker checks that it would compute the same run.
        home: Working directory of the command, to which paths are relative.
        output: Folder for results.
        cache: The cache of scans, used if the worker can access it.
        secrets: Folder with the secrets of private cohorts; None if all cohorts are public.
        device: Device as on the command line; "auto" is the worker's own GPU if it has one.
        threads: Torch threads; None leaves it to the worker's environment.
        topic: Dask topic of the worker's reports.
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
    """How a run ended.

    Attributes:
        kind: "done" (the result is on disk), "claimed" (another sweep is working on the run), "failed" (for a known
            reason) or "broken" (with an error that may not occur again).
        text: The error.
        reused: Whether the result existed already.
        host: Name of the worker's machine.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["done", "claimed", "failed", "broken"]
    text: str = ""
    reused: bool = False
    host: str = ""


def perform(order: str) -> str:
    """Compute a run; errors are returned, never raised.

    Args:
        order: An `Order` as JSON.

    Returns:
        An `Answer` as JSON.
    """
    from uadbench.runs.failures import reason
    from uadbench.runtime.claims import Claimed

    try:
        with _alone:
            reused = _perform(Order.model_validate_json(order))
        answer = Answer(kind="done", reused=reused)
    except Claimed:
        answer = Answer(kind="claimed")
    except UadbenchError as error:
        answer = Answer(kind="failed", text=reason(error), host=socket.gethostname())
    except (Exception, SystemExit) as error:  # a model may be any code
        answer = Answer(kind="broken", text=reason(error), host=socket.gethostname())
    return answer.model_dump_json()


_alone = threading.Lock()
"""Allows one run at a time in a process, because all threads share torch's random number generator."""


def _perform(order: Order) -> bool:
    _wire.connect(order)
    _wire.send(kind="taken")
    import torch
    from threadpoolctl import threadpool_limits

    from uadbench.launch.local import choose_device, prepare_process
    from uadbench.launch.sweep import draw
    from uadbench.runs.run import complete

    if order.threads is not None:
        torch.set_num_threads(order.threads)
        threadpool_limits(order.threads)  # for NumPy, which has its own threads
    if order.cache.is_dir():
        os.environ["UADBENCH_CACHE"] = str(order.cache)
    for folder in (order.home, order.secrets):
        if folder is not None and not folder.is_dir():
            raise InputError(
                f"{socket.gethostname()} cannot access {folder}; the machines of a cluster must share a file system"
                + ("; set UADBENCH_SALTS to a shared folder" if folder == order.secrets else "")
            )
    if order.secrets is not None:
        os.environ["UADBENCH_SALTS"] = str(order.secrets)
    os.chdir(order.home)
    prepare_process()
    if _runs(order.request, order.home)[order.index].eval_key != order.eval_key:
        _runs.cache_clear()  # scans may have been added since
    run = _runs(order.request, order.home)[order.index]
    if run.eval_key != order.eval_key:
        raise InputError(
            f"{socket.gethostname()} would compute a different run: it has a different version of uadbench or of the "
            "model's code, different scans or model files, or a different secret of the cohort; install the same on "
            "all machines and restart old workers"
        )
    _wire.send(kind="begun")
    with redirect_stdout(sys.stderr):
        outcome = complete(run, order.output, choose_device(order.device), _wire)
    draw(outcome, _wire)
    return outcome.reused


@lru_cache(maxsize=1)
def _runs(request: str, home: Path) -> list[Any]:
    """The runs of a request, kept between orders, so that runs of the same fold share their scans."""
    from uadbench.launch.plan import Request

    with _wire.muted():
        return Request.model_validate_json(request).runs(_wire)


class _Wire:
    """Progress that is reported to the process of the sweep, through Dask events."""

    def __init__(self) -> None:
        self._log: Callable[[News], None] = lambda news: None
        self._quiet = False

    def connect(self, order: Order) -> None:
        from distributed import get_worker

        worker = get_worker()
        about = {"index": order.index, "worker": worker.address, "host": socket.gethostname()}
        self._log = lambda news: worker.log_event(order.topic, about | news)

    @contextmanager
    def muted(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def send(self, **news: Any) -> None:
        if not self._quiet:
            self._log(news)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        self.send(kind="task", label=label, total=total)
        yield _WireTask(self, label, total)

    def notice(self, text: str) -> None:
        self.send(kind="notice", text=text)

    def warning(self, text: str) -> None:
        self.send(kind="warning", text=text)


class _WireTask:
    def __init__(self, wire: _Wire, label: str, total: int) -> None:
        self.wire, self.label, self.total = wire, label, total
        self.done = 0
        self.reported = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if self.done >= self.total or now - self.reported >= REPORT_EVERY_S:
            self.reported = now
            self.wire.send(kind="step", label=self.label, total=self.total, done=self.done, note=note)


_wire = _Wire()
