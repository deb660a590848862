"""Temporary folders for writes: locked while a process uses them, removed later if that process was killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PART = ".part-"
"""How the names of temporary folders begin."""
_NAME = re.compile(re.escape(PART) + "[a-z0-9_]{8}")
"""As `tempfile` makes them: nothing else is removed."""

DAY_S = 86_400.0
"""Age in seconds from which a temporary folder is a leftover on a file system without locks."""


@contextmanager
def part_folder(place: Path) -> Iterator[Path]:
    """Yield a temporary folder in `place` and remove it afterwards; if this process is killed, a later one removes it.

    Args:
        place: An existing folder. The first call for it in a process sweeps it.

    Raises:
        OSError: If no folder can be made there.
    """
    _sweep_once(place.absolute())
    folder, lock = _locked_folder(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def is_part(file: Path) -> bool:
    """Whether a path lies in a temporary folder of a write that is running or was killed."""
    return any(part.startswith(PART) for part in file.parts)


def is_bare(folder: Path) -> bool:
    """Whether a folder is empty apart from temporary folders."""
    return all(is_part(Path(file.name)) for file in folder.iterdir())


def sweep(folder: Path) -> None:
    """Remove the leftovers of killed writes directly in a folder; folders that are in use stay."""
    for leftover in folder.glob(f"{PART}*"):
        _remove_unless_in_use(leftover)


def sweep_tree(folder: Path) -> None:
    """Remove the leftovers of killed writes in a folder and all folders below it."""
    for leftover in list(folder.rglob(f"{PART}*")):
        _remove_unless_in_use(leftover)


@cache
def _sweep_once(folder: Path) -> None:
    """Sweep a folder once per process: listing it for every file written would take quadratic time."""
    sweep(folder)


def _locked_folder(place: Path) -> tuple[Path, int]:
    """Make a folder; return it with the descriptor that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PART, dir=place))
        with suppress(FileNotFoundError):  # swept before it was locked; take another
            lock = _opened(folder)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def _remove_unless_in_use(folder: Path) -> None:
    if not _NAME.fullmatch(folder.name):
        return
    try:
        lock = _opened(folder)
    except OSError:  # a link, a file, somebody else's, or gone by now
        return
    try:
        if _is_left(lock):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_left(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return time.time() - os.fstat(folder).st_mtime > DAY_S
    return True
