"""Runs one after the other in this process; each result is on disk before the next begins."""

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
from uadbench.launch.sweep import Sweep, draw, label_of, require_known_secrets, tell_leaks
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
"""Between two looks at runs that other processes work on."""


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU.

    Raises:
        InputError: For a device that torch does not know or this machine does not have.
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
    """Why a device cannot be had, and what to give instead."""
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == kind):
        return f"no such device; {did_you_mean(kind, [*DEVICES, 'cuda:1'])}"
    count = torch.cuda.device_count()
    if not count:
        return "there is no CUDA GPU here that torch can use; give --device cpu, or auto"
    if number.isdecimal() and int(number) >= count:
        return f"the GPUs here are {', '.join(f'cuda:{n}' for n in range(count))}"
    return error.split("\n", maxsplit=1)[0]


def prepare_process() -> None:
    """Choose the kernels that give the same numbers twice, where a GPU offers faster ones that do not; keep memory."""
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
    """Complete every run; one that fails, or takes longer than `limit_s` seconds, is recorded, and the others go on.

    A run that another process works on is left to it, and looked at again after the others. What models print goes to
    stderr. A single run that fails raises, so that its error is the command's.
    """
    prepare_process()
    require_known_secrets(runs, output)
    sweep = Sweep(output, tracker, progress, on_result)
    waiting, elsewhere = deque(runs), set[Path]()
    with progress.task("runs", len(runs)) if len(runs) > 1 else nullcontext() as counted:
        while waiting:
            run = waiting.popleft()
            folder = run.folder(output)
            outcome = None if fresh else run.outcome(output)
            if outcome is None:
                with phase("scans"):
                    run.fold_data.scans("train")  # outside of the net below: a bad scan is bad for every model
                    tell_leaks(run, progress)
            try:
                if outcome is None:
                    with redirect_stdout(sys.stderr), time_limit(limit_s, partial(_tell_stuck, run, output, limit_s)):
                        outcome = complete(run, output, device, progress, fresh)
            except Claimed:
                waiting.append(run)
                if folder not in elsewhere:
                    progress.notice(f"{label_of(run)}: another process works on it; it is left to that one")
                elsewhere.add(folder)
                if len(elsewhere) >= len(waiting):
                    time.sleep(PATIENCE_S)
                continue
            except (Exception, SystemExit) as error:  # a model may be anybody's code, and the other runs must go on
                if len(runs) == 1:
                    failures.record(folder, failures.reason(error))
                    raise (Unfinished(failures.reason(error)) if isinstance(error, SystemExit) else error) from None
                sweep.fail(run, failures.reason(error))
            else:
                with phase("figures"):
                    draw(outcome, progress)
                sweep.take(outcome)
            elsewhere.discard(folder)
            if counted is not None:
                counted.advance()
    sweep.close(list(runs))
    return sweep


def _tell_stuck(run: Run, output: Path, limit_s: float) -> None:
    """The last words of a process that a model does not give back to Python."""
    limit = duration_text(limit_s)
    error = f"does not end, nor let itself be interrupted, after {limit}; '--launcher dask' can end such a run"
    failures.record(run.folder(output), error)
    print(f"error: {label_of(run)}: {error}", file=sys.stderr, flush=True)
