"""Runs over the workers of a Dask cluster: watched, tried again, recorded where they fail for good."""

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
from uadbench.launch.place import GPU, Backend, connected, require_reachable, threads_of
from uadbench.launch.plan import Request
from uadbench.launch.sweep import Sweep, draw, label_of, require_known_secrets, tell_leaks
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
"""Between two looks at the clock, the workers and the scheduler."""

CLAIMED_S = 5.0
"""Before a run that another sweep works on is looked at again."""

LONELY_S = 60.0
"""Without any worker, before that is told."""

STOP_S = 10.0
"""How long workers may take to stop what is no longer wanted."""


def run_on_cluster(
    request: Request,
    runs: Sequence[Run],
    output: Path,
    place: Backend,
    device: str,
    tracker: Tracker | None,
    progress: Progress,
    *,
    fresh: bool = False,
    limit_s: float = math.inf,
    retries: int = 2,
    on_result: Callable[[Outcome], None] = lambda outcome: None,
) -> Sweep:
    """Complete the runs of a request on workers; results, failures and MLflow as `local.run_here` has them.

    A run whose worker dies, or that ends with an error of no known reason, is tried again `retries` times. One that
    takes longer than `limit_s` seconds is ended with its worker.

    Raises:
        InputError: Where no cluster can be had.
        Unfinished: Where it is lost; what is done stays done.
    """
    require_known_secrets(runs, output)
    sweep = Sweep(output, tracker, progress, on_result)
    todo = []
    for index, run in enumerate(runs):
        known = None if fresh else run.outcome(output)
        if known is None:
            todo.append((index, run))
        else:
            draw(known, progress)
            sweep.take(known)
    if todo:
        require_reachable(place)
        for run in {run.fold_data.fold: run for _, run in todo}.values():
            run.fold_data.scans("train")  # into the cache, from which all workers read
            tell_leaks(run, progress)
        private = any(not run.fold_data.public for _, run in todo)
        order = _blank_order(request, output, device, threads_of(place), salt_folder() if private else None)
        jobs = [_Job(run, order.model_copy(update={"index": n, "eval_key": run.eval_key}), fresh) for n, run in todo]
        with connected(place, len(jobs), output, progress) as client:
            _Watch(client, place, jobs, sweep, fresh, limit_s, retries).run()
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
    """A run on its way.

    Attributes:
        fresh: What there is of the run is to be forgotten, before it is handed out for the first time.
        attempts: How often a worker was to work on it.
        future: None while it waits.
        worker, host: Who has taken it; "" while it waits, and until that is told.
        begun: When the model's code began to run there.
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
    """The bar of a run: of the piece of work that it is at."""

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
    """No more runs are handed out than there are workers, so that a worker's death concerns its own run alone."""

    client: Client
    place: Backend
    jobs: list[_Job]
    sweep: Sweep
    fresh: bool
    limit_s: float
    retries: int
    heard: SimpleQueue[Callable[[], None]] = field(default_factory=SimpleQueue)
    """What Dask's threads have told, to be dealt with in this one."""
    waiting: deque[_Job] = field(init=False)
    running: dict[int, _Job] = field(default_factory=dict, init=False)
    resources: dict[str, int] = field(default_factory=dict, init=False)
    """What a run takes of a worker."""
    lonely: float = field(default_factory=time.monotonic, init=False)
    """Since when there has been no worker; infinite where there is one, or it was told."""
    looked: float = field(default=0.0, init=False)
    runs: Task = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = deque(self.jobs)

    def run(self) -> None:
        """Until every job has ended."""
        topic = self.jobs[0].order.topic
        self.client.subscribe_topic(topic, lambda event: self.heard.put(lambda: self._news(event[1])))
        try:
            with self.sweep.progress.task("runs", len(self.jobs)) as self.runs:
                self._loop()
        finally:
            for job in self.jobs:
                self._hide(job)
            if self.place.scheduler is not None:  # our own cluster ends with us
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
        """Is the scheduler there; has a run taken too long; is a worker free?"""
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
            self.sweep.progress.warning("no worker has come yet; runs wait for the first")
            self.lonely = math.inf
        free = workers - len(self.running)
        for _ in range(min(free, len(self.waiting))):
            job = self.waiting.popleft()
            if job.not_before > now:
                self.waiting.append(job)
            else:
                self._hand_out(job)

    def _workers(self) -> int:
        """How many may each have a run."""
        found = self.client.scheduler_info(n_workers=-1)["workers"].values()
        cards = [worker for worker in found if worker["resources"].get(GPU)]
        self.resources = {GPU: 1} if cards else {}
        return len(cards or found)

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
            return  # the last words of a worker that was given up
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
        """Dask has given a run to another worker, of its own accord, since the one on `host` was lost."""
        self._hide(job)
        if job.attempts > self.retries:
            self._drop(job)
            self._stop([job])
            self._fail(job, self._dead(job))
        else:
            job.attempts += 1
            self.sweep.progress.warning(f"{label_of(job.run)}: its worker on {host} was lost; it is tried again")

    def _ended(self, job: _Job, future: Future) -> None:
        if job.future is not future:
            return
        self.looked = 0.0  # a worker is free: the next run need not wait
        self._hide(job)
        if future.status == "error":
            self._drop(job)
            error = future.exception()
            if type(error).__name__ == "KilledWorker":  # of a scheduler that has less patience than we
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
            self._again(job, f"{answer.host or 'a worker'} wrote a result that is not in {folder} here")
            return
        self.sweep.take(Outcome(result, folder, answer.reused))
        self.runs.advance(1)

    def _postpone(self, job: _Job) -> None:
        """Another process works on the run: it is looked at again later."""
        if job.not_before == 0:
            self.sweep.progress.notice(f"{label_of(job.run)}: another process works on it; it is left to that one")
        job.not_before = time.monotonic() + CLAIMED_S
        self.waiting.append(job)

    def _again(self, job: _Job, error: str) -> None:
        if job.attempts > self.retries:
            self._fail(job, error)
            return
        self.sweep.progress.warning(f"{label_of(job.run)}: {error}; it is tried again")
        self.waiting.append(job)

    def _fail(self, job: _Job, error: str) -> None:
        self.sweep.fail(job.run, error, job.attempts, job.host)
        self.runs.advance(1)

    def _dead(self, job: _Job) -> str:
        return f"its worker died, {job.attempts} times in all (killed, perhaps for want of memory)"

    def _hide(self, job: _Job) -> None:
        if job.shown is not None:
            job.shown.close()
            job.shown = None

    def _drop(self, job: _Job) -> None:
        """The job is no longer with a worker, or no longer wanted there."""
        self._hide(job)
        self.running.pop(job.order.index, None)
        if job.future is not None:
            future, job.future = job.future, None
            if self.client.status == "running":
                future.cancel()

    def _stop(self, jobs: list[_Job]) -> None:
        """End what workers are at, which nothing but the end of their processes can; new ones take their place."""
        addresses = [job.worker for job in jobs if job.worker]
        for job in jobs:
            self._drop(job)
        if addresses and self.client.status == "running":
            try:
                self.client.restart_workers(addresses, timeout=STOP_S, raise_for_error=False)
            except Exception as error:  # no nanny, or gone by now
                self.sweep.progress.warning(f"a worker could not be stopped ({' '.join(str(error).split())[:200]})")

    def _lost(self) -> None:
        left = len(self.waiting) + len(self.running)
        how = "the same command again, without --fresh," if self.fresh else "the same command again"
        raise Unfinished(f"the Dask scheduler went away with {counted(left, 'run')} not done; give {how} to continue")
