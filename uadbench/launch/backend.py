"""Backends that compute runs: Dask workers on this machine, an existing Dask cluster, or Slurm jobs."""

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
from uadbench.runtime.files import temporary_place
from uadbench.runtime.plurals import counted
from uadbench.runtime.progress import Progress, Silent
from uadbench.runtime.timeouts import seconds_of

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 15.0
DEFAULT_MEMORY = "8GB"
GPU = "GPU"
"""Dask resource offered by a worker that has a GPU of its own."""


@dataclass(frozen=True)
class Backend:
    """Which workers to use.

    Attributes:
        workers: Number of workers to start; None for one per GPU, or one per core without GPUs. Unused for an existing
            cluster.
        threads: Torch threads of each worker; None for an equal share of this machine's cores, the cores of the Slurm
            job, or the setting of the existing worker.
        scheduler: Address of an existing cluster.
        slurm: Options of a Slurm job, from `slurm.parse_slurm`.
        gpus: Number of GPUs of this machine to use; workers are assigned to them in turn.
    """

    workers: int | None = None
    threads: int | None = None
    scheduler: str | None = None
    slurm: Mapping[str, str] | None = None
    gpus: int = 0


@contextmanager
def connected(backend: Backend, most: int, output: Path, progress: Progress) -> Iterator[Client]:
    """Connect to an existing cluster, or start one and stop it afterwards.

    Args:
        backend: Which workers to use.
        most: Largest number of workers to start.
        output: Folder for results; logs of Slurm jobs are written below it.
        progress: Receives progress reports.

    Yields:
        The client.

    Raises:
        InputError: If Dask is not installed or no scheduler answers.
    """
    require_dask()
    import dask
    from distributed import Client

    quiet = {
        "logging": {"distributed": "critical"},
        "distributed.scheduler.allowed-failures": 1000,  # `cluster` counts lost workers
        "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
    }
    with dask.config.set(quiet):
        for name in ("distributed", "tornado.application", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if backend.scheduler is not None:
            try:
                client = Client(backend.scheduler, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError) as error:
                raise InputError(f"--scheduler {backend.scheduler}: no Dask scheduler answers ({error})") from None
            with client:
                yield client
            return
        with tempfile.TemporaryDirectory(prefix="uadbench-", dir=temporary_place()) as scratch:
            if backend.slurm is None:
                cluster = _local(backend, most, Path(scratch))
            else:
                cluster = _slurm(backend, most, output.resolve() / "slurm-logs", progress)
            with cluster, Client(cluster, timeout=CONNECT_S, set_as_default=False) as client:
                yield client


def threads_of(backend: Backend) -> int | None:
    """Number of torch threads of each worker; None leaves it to the worker."""
    if backend.threads is not None or backend.scheduler is not None:
        return backend.threads
    if backend.slurm is not None:
        return int(backend.slurm.get("cpus", "1"))
    return max(1, _cores() // workers_of(backend))


def workers_of(backend: Backend) -> int:
    """Number of workers to start."""
    return backend.workers or backend.gpus or (1 if backend.slurm is not None else _cores())


def require_dask() -> None:
    """Check that the extra `cluster` is installed.

    Raises:
        InputError: If it is not; the message gives the command that installs it.
    """
    from importlib.util import find_spec

    if missing := [name for name in ("distributed", "dask_jobqueue") if find_spec(name) is None]:
        names = " and ".join(missing)
        raise InputError(f"--launcher dask needs {names}; install with: pip install 'uadbench[cluster]'")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment(threads: int) -> dict[str, str]:
    """Environment of a new worker: as many threads in other libraries as in torch, and one memory arena for reuse."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(pools, str(threads)) | {"MALLOC_ARENA_MAX": "1"}


def _local(backend: Backend, most: int, scratch: Path) -> Any:
    from distributed import Nanny, Scheduler, SpecCluster

    shared = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "local_directory": str(scratch)}
    shared |= {"host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    gpus = _visible(backend.gpus)
    workers = {}
    for number in range(min(workers_of(backend), most)):
        environment = _environment(threads_of(backend) or 1)
        options: dict[str, Any] = dict(shared)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
            options["resources"] = {GPU: 1}
        workers[number] = {"cls": Nanny, "options": options | {"env": environment}}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    _start_tracker()
    return SpecCluster(workers, scheduler, silence_logs=logging.CRITICAL)


def _start_tracker() -> None:
    """Start Python's resource tracker with SIGHUP ignored; it ignores SIGTERM by itself.

    A closing terminal sends SIGHUP to all processes. If the tracker ends before the others, they print tracebacks.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource_tracker.ensure_running()
    signal.signal(signal.SIGHUP, former)


def _visible(gpus: int) -> list[str]:
    """CUDA names of the GPUs that this process may use."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (names or [str(number) for number in range(gpus)])[:gpus]


def require_reachable(backend: Backend) -> None:
    """Check that the scheduler answers, or that Slurm accepts the job options, before any scan is read.

    Args:
        backend: Which workers to use.

    Raises:
        InputError: If the scheduler does not answer, or Slurm refuses the options.
    """
    if backend.scheduler is not None:
        with connected(backend, 1, Path(), Silent()):
            return
    if backend.slurm is not None:
        with tempfile.TemporaryDirectory(prefix="uadbench-", dir=temporary_place()) as folder:
            _slurm_cluster(backend, Path(folder)).close()


def _slurm(backend: Backend, most: int, logs: Path, progress: Progress) -> Any:
    cluster = _slurm_cluster(backend, logs)
    count = min(workers_of(backend), most)
    cluster.adapt(minimum_jobs=count, maximum_jobs=count, interval="5s")  # a job that ends early is asked for again
    progress.notice(
        f"requested {counted(count, 'job')} from Slurm (squeue shows their state; logs are written to {logs})"
    )
    return cluster


def _slurm_cluster(backend: Backend, logs: Path) -> Any:
    """A cluster with job options that Slurm accepts; submits no job. Raises InputError if Slurm refuses them."""
    former = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster

    signal.signal(signal.SIGINT, former)  # the import replaces it, after which Ctrl-C would exit with code 0
    assert backend.slurm is not None
    if shutil.which("sbatch") is None:
        raise InputError("--slurm: sbatch not found; run this command on a machine that submits Slurm jobs")
    options = dict(backend.slurm)
    memory = options.get("memory", DEFAULT_MEMORY)
    environment = _environment(threads_of(backend) or 1)
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
    """Raises InputError with Slurm's reason if Slurm would refuse the job; otherwise the refusal would go unnoticed."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh", dir=temporary_place()) as file:
        file.write(script)
        file.flush()
        test = subprocess.run(["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False)
    if test.returncode != 0:
        raise InputError(f"--slurm: Slurm refuses these options ({' '.join(test.stderr.split())})")


def _clock_time(seconds: float) -> str:
    """A duration in the format of sbatch, HH:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
