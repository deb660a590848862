"""Verification of all committed results of a leaderboard folder, in parallel processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path

from uadbench.errors import InputError
from uadbench.leaderboard.checks import require_sound
from uadbench.leaderboard.entries import read_entry, result_files
from uadbench.runtime.progress import Progress

WORTH_A_PROCESS = 6
"""Results per process from which another process saves time, given its start-up and the cases that it simulates."""


def faults_of(root: Path, progress: Progress) -> list[str]:
    """Check all results of a leaderboard folder.

    Args:
        root: The leaderboard folder.
        progress: Receives progress reports.

    Returns:
        One line for each result that fails a check, in the order of the file names.

    Raises:
        InputError: If the folder has no results.
    """
    files = result_files(root)
    faults: dict[Path, str] = {}
    with progress.task("checking results", len(files)) as task:
        for file, fault in _checked(files, root):
            faults[file] = fault
            task.advance(1)
    return [faults[file] for file in files if faults[file]]


def _checked(files: Sequence[Path], root: Path) -> Iterator[tuple[Path, str]]:
    """Each file with its fault, or "", as soon as it has been checked."""
    left = dict.fromkeys(files)
    workers = min(_cores(), len(files) // WORTH_A_PROCESS)
    if workers > 1:
        try:
            for file, fault in _side_by_side(files, root, workers):
                del left[file]
                yield file, fault
        except (BrokenProcessPool, OSError):  # processes cannot start or were killed: continue in this process
            pass
    for file in left:
        yield file, _fault(file, root)


def _side_by_side(files: Sequence[Path], root: Path, workers: int) -> Iterator[tuple[Path, str]]:
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin) as pool:
        waiting = {pool.submit(_fault, file, root): file for file in files}
        try:
            for each in as_completed(waiting):
                yield waiting[each], each.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fault(file: Path, root: Path) -> str:
    """The fault of a committed result; "" if it passes every check."""
    try:
        require_sound(read_entry(file, root), root)
    except InputError as error:
        return str(error)
    return ""


def _begin() -> None:
    """Set up a worker process: one thread, Ctrl-C left to the parent, and exit when the parent ends."""
    import torch
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    threadpool_limits(1)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
