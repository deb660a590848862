"""Where runs are computed: workers on this machine, on an existing Dask cluster, or as jobs of Slurm."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uadbench.errors import InputError
from uadbench.launch.slurm import asks_for_memory, directives, has_gpu
from uadbench.runtime.plurals import counted
from uadbench.runtime.progress import Progress, Silent
from uadbench.runtime.timeouts import seconds_of

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 15.0
DEFAULT_MEMORY = "8GB"
GPU = "GPU"
"""The resource that a Dask worker with a GPU of its own offers, one of it."""


@dataclass(frozen=True)
class Backend:
    """Which workers do the work.

    Attributes:
        workers: How many to start; None is one a GPU, or one a core; nothing for an existing cluster.
        threads: Of torch in each worker; None divides this machine's cores, takes Slurm's, or the worker's own.
        scheduler: The address of an existing cluster.
        slurm: Options of a job, as `slurm.parse_slurm` gives them.
        gpus: How many GPUs of this machine are used, one by each worker in turn.
    """

    workers: int | None = None
    threads: int | None = None
    scheduler: str | None = None
    slurm: Mapping[str, str] | None = None
    gpus: int = 0


@contextmanager
def connected(place: Backend, most: int, output: Path, progress: Progress) -> Iterator[Client]:
    """A client of a cluster: one that is there, or one that is started, with at most `most` workers, and stopped.

    Raises:
        InputError: Where Dask is not installed or no scheduler answers.
    """
    require_dask()
    import dask
    from distributed import Client

    quiet = {
        "logging": {"distributed": "critical"},
        "distributed.scheduler.allowed-failures": 1000,  # deaths of workers are counted in `cluster`
        "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
    }
    with dask.config.set(quiet):
        for name in ("distributed", "tornado.application", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if place.scheduler is not None:
            try:
                client = Client(place.scheduler, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError) as error:
                raise InputError(f"--scheduler {place.scheduler}: no Dask scheduler answers ({error})") from None
            with client:
                yield client
            return
        with tempfile.TemporaryDirectory(prefix="uadbench-") as scratch:
            if place.slurm is None:
                cluster = _local(place, most, Path(scratch))
            else:
                cluster = _slurm(place, most, output.resolve() / "slurm-logs", progress)
            with cluster, Client(cluster, timeout=CONNECT_S, set_as_default=False) as client:
                yield client


def threads_of(place: Backend) -> int | None:
    """Of torch in each worker; None leaves it to the worker."""
    if place.threads is not None or place.scheduler is not None:
        return place.threads
    if place.slurm is not None:
        return int(place.slurm.get("cpus", "1"))
    return max(1, _cores() // workers_of(place))


def workers_of(place: Backend) -> int:
    """How many workers are to be started."""
    return place.workers or place.gpus or (1 if place.slurm is not None else _cores())


def require_dask() -> None:
    """Raises InputError, with the command that mends it, where the extra `cluster` is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in ("distributed", "dask_jobqueue") if find_spec(name) is None]:
        names = " and ".join(missing)
        raise InputError(f"--launcher dask needs {names}; install with: pip install 'uadbench[cluster]'")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment(threads: int) -> dict[str, str]:
    """Of a worker, before it starts: pools of threads like torch's, and one arena, in which freed memory is kept."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(pools, str(threads)) | {"MALLOC_ARENA_MAX": "1"}


def _local(place: Backend, most: int, scratch: Path) -> Any:
    from distributed import Nanny, Scheduler, SpecCluster

    shared = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "local_directory": str(scratch)}
    shared |= {"host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    cards = _visible(place.gpus)
    workers = {}
    for number in range(min(workers_of(place), most)):
        environment = _environment(threads_of(place) or 1)
        options: dict[str, Any] = dict(shared)
        if cards:
            environment["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
            options["resources"] = {GPU: 1}
        workers[number] = {"cls": Nanny, "options": options | {"env": environment}}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    _start_tracker()
    return SpecCluster(workers, scheduler, silence_logs=logging.CRITICAL)


def _start_tracker() -> None:
    """Start the process that counts what Python's processes share, with SIGHUP ignored, as it ignores SIGTERM itself.

    A terminal that closes signals all processes; this one must outlive the others, or it ends in a traceback.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource_tracker.ensure_running()
    signal.signal(signal.SIGHUP, former)


def _visible(gpus: int) -> list[str]:
    """What CUDA calls the GPUs that this process may use."""
    told = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (told or [str(number) for number in range(gpus)])[:gpus]


def require_reachable(place: Backend) -> None:
    """Ask the scheduler, or Slurm, whether it would take us, before scans are read for it.

    Raises:
        InputError: Where it would not.
    """
    if place.scheduler is not None:
        with connected(place, 1, Path(), Silent()):
            return
    if place.slurm is not None:
        with tempfile.TemporaryDirectory(prefix="uadbench-") as folder:
            _slurm_cluster(place, Path(folder)).close()


def _slurm(place: Backend, most: int, logs: Path, progress: Progress) -> Any:
    cluster = _slurm_cluster(place, logs)
    count = min(workers_of(place), most)
    cluster.adapt(minimum_jobs=count, maximum_jobs=count, interval="5s")  # a job that ends early is asked for again
    progress.notice(
        f"asked Slurm for {counted(count, 'job')} (squeue tells when they start; what they print lies in {logs})"
    )
    return cluster


def _slurm_cluster(place: Backend, logs: Path) -> Any:
    """A cluster whose jobs Slurm would take; none is submitted. Raises InputError where it would not."""
    former = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster

    signal.signal(signal.SIGINT, former)  # which that import replaces: Ctrl-C would be a silent success
    assert place.slurm is not None
    if shutil.which("sbatch") is None:
        raise InputError("--slurm: there is no sbatch here; run this where jobs are submitted")
    options = dict(place.slurm)
    memory = options.get("memory", DEFAULT_MEMORY)
    environment = _environment(threads_of(place) or 1)
    cluster = SLURMCluster(
        queue=options.get("partition"),
        account=options.get("account"),
        walltime=_clock_time(seconds_of("--slurm time", options.get("time", "1d"))),
        cores=1,
        processes=1,
        job_name="uadbench",
        job_cpu=int(options.get("cpus", "1")),
        memory=memory if asks_for_memory(options) else DEFAULT_MEMORY,
        job_directives_skip=[] if asks_for_memory(options) else ["--mem="],
        python=sys.executable,
        job_extra_directives=directives(options),
        job_script_prologue=[f"export {name}={value}" for name, value in environment.items()],
        worker_extra_args=["--no-dashboard", *(["--resources", f"{GPU}=1"] if has_gpu(options) else [])],
        log_directory=str(logs),
        silence_logs=logging.CRITICAL,
        scheduler_options={"dashboard_address": None},
    )
    try:
        _require_acceptable(cluster.job_script())
    except InputError:
        cluster.close()
        raise
    return cluster


def _require_acceptable(script: str) -> None:
    """Raises InputError, with Slurm's reason, for a job that it would refuse: nobody else would hear of that."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        asked = subprocess.run(["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise InputError(f"--slurm: refused ({' '.join(asked.stderr.split())})")


def _clock_time(seconds: float) -> str:
    """As sbatch reads it: HH:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
