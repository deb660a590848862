"""Execution of runs one after another in this process; each result is on disk before the next run starts."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path

import torch

from uadbench.errors import InputError, Unfinished
from uadbench.launch.sweep import Sweep, draw, label_of, require_known_secrets, warn_of_leaks
from uadbench.registry import did_you_mean
from uadbench.runs import failures
from uadbench.runs.keys import Outcome, Run
from uadbench.runs.run import complete
from uadbench.runtime.claims import Claimed
from uadbench.runtime.memory import keep_freed_memory
from uadbench.runtime.profiling import phase
from uadbench.runtime.progress import Progress
from uadbench.runtime.timeouts import duration_text, time_limit
from uadbench.tracking import Tracker

DAY_S = 86400.0
DEVICES = ("auto", "cpu", "cuda")
PATIENCE_S = 1.0
"""Seconds between checks of runs that other processes are working on."""


def choose_device(name: str) -> torch.device:
    """Choose the device to compute on.

    Args:
        name: A torch device, or "auto" for the first GPU if there is one and otherwise the CPU.

    Returns:
        The device.

    Raises:
        InputError: If torch does not know the device, or this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: {_why_not(name, str(error))}") from None
    return device


def _why_not(name: str, error: str) -> str:
    """Why a device is not available, and what to use instead."""
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == kind):
        return f"no such device; {did_you_mean(kind, [*DEVICES, 'cuda:1'])}"
    count = torch.cuda.device_count()
    if not count:
        return "PyTorch finds no usable CUDA GPU on this machine; use --device cpu or auto"
    if number.isdecimal() and int(number) >= count:
        return f"this machine has {', '.join(f'cuda:{n}' for n in range(count))}"
    return error.split("\n", maxsplit=1)[0]


def prepare_process() -> None:
    """Set up this process: keep freed memory for reuse, and use deterministic GPU kernels instead of faster ones."""
    keep_freed_memory()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def run_here(
    runs: Sequence[Run],
    output: Path,
    device: torch.device,
    tracker: Tracker | None,
    progress: Progress,
    *,
    fresh: bool = False,
    limit_s: float = DAY_S,
    on_result: Callable[[Outcome], None] = lambda outcome: None,
) -> Sweep:
    """Complete every run; failures and timeouts are recorded, and the other runs continue.

    Runs that another process is working on are checked again after the others. Output that models print goes to
    stderr.

    Args:
        runs: The runs.
        output: Folder for results.
        device: Device to compute on.
        tracker: Logs to MLflow; None for no logging.
        progress: Receives progress reports.
        fresh: Whether to delete what exists of each run and start it again.
        limit_s: Time limit for each run, in seconds.
        on_result: Called with each finished run.

    Returns:
        The results and failures. If there is only one run and it fails, its error is raised instead.
    """
    prepare_process()
    require_known_secrets(runs, output)
    sweep = Sweep(output, tracker, progress, on_result)
    waiting, elsewhere = deque(runs), set[Path]()
    with progress.task("runs", len(runs)) if len(runs) > 1 else nullcontext() as task:
        while waiting:
            run = waiting.popleft()
            folder = run.folder(output)
            outcome = None if fresh else run.outcome(output)
            if outcome is None:
                with phase("scans"):
                    run.fold_data.scans("train")  # not in the `try` below: a bad scan concerns every model
                    warn_of_leaks(run, progress)
            try:
                if outcome is None:
                    with redirect_stdout(sys.stderr), time_limit(limit_s, partial(_report_stuck, run, output, limit_s)):
                        outcome = complete(run, output, device, progress, fresh)
            except Claimed:
                waiting.append(run)
                if folder not in elsewhere:
                    progress.notice(f"{label_of(run)}: another process is working on this run; waiting for it")
                elsewhere.add(folder)
                if len(elsewhere) >= len(waiting):
                    time.sleep(PATIENCE_S)
                continue
            except (Exception, SystemExit) as error:  # a model may be any code, and the other runs must go on
                if len(runs) == 1:
                    failures.record(folder, failures.reason(error))
                    raise (Unfinished(failures.reason(error)) if isinstance(error, SystemExit) else error) from None
                sweep.fail(run, failures.reason(error))
            else:
                with phase("figures"):
                    draw(outcome, progress)
                sweep.take(outcome)
            elsewhere.discard(folder)
            if task is not None:
                task.advance()
    sweep.close(list(runs))
    return sweep


def _report_stuck(run: Run, output: Path, limit_s: float) -> None:
    """Report a run that cannot be interrupted because the model never returns to Python."""
    error = (
        f"still running after {duration_text(limit_s)} and cannot be interrupted; '--launcher dask' can stop such runs"
    )
    failures.record(run.folder(output), error)
    print(f"error: {label_of(run)}: {error}", file=sys.stderr, flush=True)
