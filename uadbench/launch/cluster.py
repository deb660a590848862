"""Execution of runs on the workers of a Dask cluster, with time limits, retries and a record of failures."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from uadbench.cohorts.secrecy import salt_folder
from uadbench.errors import Unfinished
from uadbench.launch.backend import GPU, Backend, connected, require_reachable, threads_of
from uadbench.launch.plan import Request
from uadbench.launch.sweep import Sweep, draw, label_of, require_known_secrets, warn_of_leaks
from uadbench.launch.worker import Answer, News, Order, perform
from uadbench.runs.keys import Outcome, Run, finished
from uadbench.runs.run import forget
from uadbench.runtime.claims import Claimed
from uadbench.runtime.files import cache_folder
from uadbench.runtime.plurals import counted
from uadbench.runtime.progress import Progress, Task
from uadbench.runtime.timeouts import duration_text
from uadbench.tracking import Tracker

if TYPE_CHECKING:
    from distributed import Client, Future

TICK_S = 0.5
"""Seconds between checks of the clock, the workers and the scheduler."""

CLAIMED_S = 5.0
"""Seconds before a run that another sweep is working on is checked again."""

LONELY_S = 60.0
"""Seconds without any worker before a warning is printed."""

STOP_S = 10.0
"""Seconds that workers may take to stop a run that is no longer needed."""


def run_on_cluster(
    request: Request,
    runs: Sequence[Run],
    output: Path,
    backend: Backend,
    device: str,
    tracker: Tracker | None,
    progress: Progress,
    *,
    fresh: bool = False,
    limit_s: float = math.inf,
    retries: int = 2,
    on_result: Callable[[Outcome], None] = lambda outcome: None,
) -> Sweep:
    """Complete the runs of a request on workers; results, failures and MLflow are handled as in `local.run_here`.

    A run is retried if its worker dies or if it ends with an unexpected error.

    Args:
        request: The request, which workers expand into the same runs.
        runs: The runs of the request.
        output: Folder for results.
        backend: Which workers to use.
        device: Device as on the command line.
        tracker: Logs to MLflow; None for no logging.
        progress: Receives progress reports.
        fresh: Whether to delete what exists of each run and start it again.
        limit_s: Time limit for each run in seconds; a run that exceeds it is stopped together with its worker.
        retries: How often a run is retried.
        on_result: Called with each finished run.

    Returns:
        The results and failures.

    Raises:
        InputError: If no cluster is available.
        Unfinished: If the connection to the scheduler is lost; finished runs are kept.
    """
    require_known_secrets(runs, output)
    sweep = Sweep(output, tracker, progress, on_result)
    todo = []
    for index, run in enumerate(runs):
        outcome = None if fresh else run.outcome(output)
        if outcome is None:
            todo.append((index, run))
        else:
            draw(outcome, progress)
            sweep.take(outcome)
    if todo:
        require_reachable(backend)
        for run in {run.fold_data.fold: run for _, run in todo}.values():
            run.fold_data.scans("train")  # fills the cache, which all workers read
            warn_of_leaks(run, progress)
        private = any(not run.fold_data.public for _, run in todo)
        order = _blank_order(request, output, device, threads_of(backend), salt_folder() if private else None)
        jobs = [_Job(run, order.model_copy(update={"index": n, "eval_key": run.eval_key}), fresh) for n, run in todo]
        with connected(backend, len(jobs), output, progress) as client:
            _Watch(client, backend, jobs, sweep, fresh, limit_s, retries).run()
    sweep.close(list(runs))
    return sweep


def _blank_order(request: Request, output: Path, device: str, threads: int | None, secrets: Path | None) -> Order:
    return Order(
        request=request.model_dump_json(),
        index=-1,
        eval_key="",
        home=Path.cwd(),
        output=output.resolve(),
        cache=cache_folder().resolve(),
        secrets=None if secrets is None else secrets.resolve(),
        device=device,
        threads=threads,
        topic=f"uadbench-{uuid.uuid4().hex}",
    )


@dataclass
class _Job:
    """A run that waits for a worker or is being computed.

    Attributes:
        run: The run.
        order: The message that describes it to a worker.
        fresh: Whether existing files of the run are still to be deleted before its first attempt.
        attempts: Number of attempts so far.
        future: The Dask future; None while the run waits.
        worker: Address of the worker that has accepted the run; "" before that.
        host: Name of that worker's machine; "" before that.
        begun: Time at which the model's code started on the worker; infinite before that.
        not_before: Earliest time of the next attempt.
        shown: The progress bar; None if there is none.
    """

    run: Run
    order: Order
    fresh: bool = False
    attempts: int = 0
    future: Any = None
    begun: float = math.inf
    worker: str = ""
    host: str = ""
    not_before: float = 0.0
    shown: _Shown | None = None


class _Shown:
    """The progress bar of a run's current task."""

    def __init__(self, progress: Progress, news: News, label: str) -> None:
        self.key = (news["label"], news["total"])
        self.done = 0
        self._stack = ExitStack()
        self._task = self._stack.enter_context(progress.task(f"{label}: {news['label']}", news["total"]))

    def step(self, news: News) -> None:
        self._task.advance(news["done"] - self.done, news["note"])
        self.done = news["done"]

    def close(self) -> None:
        self._stack.close()


@dataclass
class _Watch:
    """Main loop: assigns runs to workers, never more runs than workers, so that a lost worker affects one run only."""

    client: Client
    backend: Backend
    jobs: list[_Job]
    sweep: Sweep
    fresh: bool
    limit_s: float
    retries: int
    heard: SimpleQueue[Callable[[], None]] = field(default_factory=SimpleQueue)
    """Events reported by Dask's threads, to be handled in this thread."""
    waiting: deque[_Job] = field(init=False)
    running: dict[int, _Job] = field(default_factory=dict, init=False)
    resources: dict[str, int] = field(default_factory=dict, init=False)
    """Dask resources that a run needs."""
    lonely: float = field(default_factory=time.monotonic, init=False)
    """Time since which there has been no worker; infinite if there is one, or the warning was printed."""
    looked: float = field(default=0.0, init=False)
    runs: Task = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = deque(self.jobs)

    def run(self) -> None:
        """Run the loop until every job has ended."""
        topic = self.jobs[0].order.topic
        self.client.subscribe_topic(topic, lambda event: self.heard.put(lambda: self._news(event[1])))
        try:
            with self.sweep.progress.task("runs", len(self.jobs)) as self.runs:
                self._loop()
        finally:
            for job in self.jobs:
                self._hide(job)
            if self.backend.scheduler is not None:  # a cluster of our own is closed by `connected`
                self._stop(list(self.running.values()))

    def _loop(self) -> None:
        while self.waiting or self.running:
            if time.monotonic() - self.looked >= TICK_S:
                self._look()
                self.looked = time.monotonic()
            try:
                self.heard.get(timeout=TICK_S)()
            except Empty:
                continue

    def _look(self) -> None:
        """Check the scheduler, stop runs that exceed the time limit, and assign runs to free workers."""
        if self.client.status != "running":
            self._lost()
        now = time.monotonic()
        for job in [job for job in self.running.values() if now - job.begun > self.limit_s]:
            self._drop(job)
            self._stop([job])
            self._fail(job, f"took longer than the {duration_text(self.limit_s)} that --time-limit grants")
        workers = self._workers()
        if workers:
            self.lonely = math.inf
        elif now - self.lonely > LONELY_S:
            self.sweep.progress.warning("no worker has connected yet; runs wait for the first worker")
            self.lonely = math.inf
        free = workers - len(self.running)
        for _ in range(min(free, len(self.waiting))):
            job = self.waiting.popleft()
            if job.not_before > now:
                self.waiting.append(job)
            else:
                self._hand_out(job)

    def _workers(self) -> int:
        """Number of workers that can compute runs; only those with a GPU if there are any."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        with_gpu = [worker for worker in workers if worker["resources"].get(GPU)]
        self.resources = {GPU: 1} if with_gpu else {}
        return len(with_gpu or workers)

    def _hand_out(self, job: _Job) -> None:
        if job.fresh:
            try:
                forget(job.run, self.sweep.output)
            except Claimed:
                self._postpone(job)
                return
            job.fresh = False
        job.attempts += 1
        key = f"{job.order.topic}-{job.order.index}-{job.attempts}-{time.monotonic_ns()}"
        text = job.order.model_dump_json()
        future = self.client.submit(perform, text, key=key, pure=False, resources=self.resources or None)
        job.future, job.worker, job.host, job.begun = future, "", "", math.inf
        self.running[job.order.index] = job
        future.add_done_callback(lambda ended: self.heard.put(lambda: self._ended(job, ended)))

    def _news(self, news: News) -> None:
        job = self.running.get(news["index"])
        if job is None:
            return
        label = label_of(job.run)
        if news["kind"] == "taken":
            former, job.worker, job.host, job.begun = job.host, news["worker"], news["host"], math.inf
            if former:
                self._died(job, former)
        elif news["worker"] != job.worker:
            return  # a late message from a worker that was replaced
        elif news["kind"] == "begun":
            job.begun = time.monotonic()
        elif news["kind"] == "notice":
            self.sweep.progress.notice(f"{label}: {news['text']}")
        elif news["kind"] == "warning":
            self.sweep.progress.warning(f"{label}: {news['text']}")
        else:
            if job.shown is None or job.shown.key != (news["label"], news["total"]):
                self._hide(job)
                job.shown = _Shown(self.sweep.progress, news, label)
            if news["kind"] == "step":
                job.shown.step(news)

    def _died(self, job: _Job, host: str) -> None:
        """Handle a run that Dask moved to another worker because the one on `host` was lost."""
        self._hide(job)
        if job.attempts > self.retries:
            self._drop(job)
            self._stop([job])
            self._fail(job, self._dead(job))
        else:
            job.attempts += 1
            self.sweep.progress.warning(f"{label_of(job.run)}: the worker on {host} was lost; retrying")

    def _ended(self, job: _Job, future: Future) -> None:
        if job.future is not future:
            return
        self.looked = 0.0  # a worker is free, so assign the next run at once
        self._hide(job)
        if future.status == "error":
            self._drop(job)
            error = future.exception()
            if type(error).__name__ == "KilledWorker":  # a scheduler that allows fewer failures than we do
                self._again(job, self._dead(job))
            else:
                self._again(job, f"{type(error).__name__}: {' '.join(str(error).split())}")
            return
        if future.status != "finished":
            self._lost()
        answer = Answer.model_validate_json(future.result())
        job.host = answer.host
        self._drop(job)
        if answer.kind == "done":
            self._done(job, answer)
        elif answer.kind == "claimed":
            job.attempts -= 1
            self._postpone(job)
        elif answer.kind == "failed":
            self._fail(job, answer.text)
        else:
            self._again(job, answer.text)

    def _done(self, job: _Job, answer: Answer) -> None:
        folder = job.run.folder(self.sweep.output)
        result = finished(folder, job.run.eval_key)
        if result is None:
            self._again(
                job, f"{answer.host or 'a worker'} wrote a result that is missing from {folder} on this machine"
            )
            return
        self.sweep.take(Outcome(result, folder, answer.reused))
        self.runs.advance(1)

    def _postpone(self, job: _Job) -> None:
        """Try a run again later because another process is working on it."""
        if job.not_before == 0:
            self.sweep.progress.notice(f"{label_of(job.run)}: another process is working on this run; waiting for it")
        job.not_before = time.monotonic() + CLAIMED_S
        self.waiting.append(job)

    def _again(self, job: _Job, error: str) -> None:
        if job.attempts > self.retries:
            self._fail(job, error)
            return
        self.sweep.progress.warning(f"{label_of(job.run)}: {error}; retrying")
        self.waiting.append(job)

    def _fail(self, job: _Job, error: str) -> None:
        self.sweep.fail(job.run, error, job.attempts, job.host)
        self.runs.advance(1)

    def _dead(self, job: _Job) -> str:
        return f"the worker died ({counted(job.attempts, 'attempt')}); it may have run out of memory"

    def _hide(self, job: _Job) -> None:
        if job.shown is not None:
            job.shown.close()
            job.shown = None

    def _drop(self, job: _Job) -> None:
        """Detach a job from its worker."""
        self._hide(job)
        self.running.pop(job.order.index, None)
        if job.future is not None:
            future, job.future = job.future, None
            if self.client.status == "running":
                future.cancel()

    def _stop(self, jobs: list[_Job]) -> None:
        """Stop jobs by restarting the processes of their workers, the only way to stop a running model."""
        addresses = [job.worker for job in jobs if job.worker]
        for job in jobs:
            self._drop(job)
        if addresses and self.client.status == "running":
            try:
                self.client.restart_workers(addresses, timeout=STOP_S, raise_for_error=False)
            except Exception as error:  # the worker has no nanny, or is gone already
                self.sweep.progress.warning(f"a worker could not be stopped ({' '.join(str(error).split())[:200]})")

    def _lost(self) -> None:
        left = len(self.waiting) + len(self.running)
        how = "the same command again, without --fresh," if self.fresh else "the same command again"
        raise Unfinished(
            f"connection to the Dask scheduler lost, {counted(left, 'run')} not done; give {how} to continue"
        )
