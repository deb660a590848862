"""Temporary folders for writing files, which are locked while in use and removed later if the process was killed."""

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
"""The prefix of the names of temporary folders."""
_NAME = re.compile(re.escape(PART) + "[a-z0-9_]{8}")
"""The names that `tempfile` generates; folders with other names are never removed."""

DAY_S = 86_400.0
"""The age, in seconds, above which a temporary folder is considered abandoned on a file system without locks."""


@contextmanager
def part_folder(place: Path) -> Iterator[Path]:
    """Create a temporary folder and remove it afterwards; if the process is killed, a later process removes it.

    Args:
        place: The existing parent folder. The first call for it in a process also removes abandoned folders there.

    Yields:
        The temporary folder.

    Raises:
        OSError: If no folder can be created there.
    """
    _sweep_once(place.absolute())
    folder, lock = _locked_folder(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def is_part(file: Path) -> bool:
    """Whether a path lies in a temporary folder.

    Args:
        file: The path.

    Returns:
        True if a component of the path has the prefix of temporary folders.
    """
    return any(part.startswith(PART) for part in file.parts)


def is_bare(folder: Path) -> bool:
    """Whether a folder is empty except for temporary folders.

    Args:
        folder: The folder.

    Returns:
        True if it contains nothing else.
    """
    return all(is_part(Path(file.name)) for file in folder.iterdir())


def sweep(folder: Path) -> None:
    """Remove abandoned temporary folders directly in a folder; those in use remain.

    Args:
        folder: The folder.
    """
    for leftover in folder.glob(f"{PART}*"):
        _remove_unless_in_use(leftover)


def sweep_tree(folder: Path) -> None:
    """Remove abandoned temporary folders in a folder and all its subfolders; those in use remain.

    Args:
        folder: The folder.
    """
    for leftover in list(folder.rglob(f"{PART}*")):
        _remove_unless_in_use(leftover)


@cache
def _sweep_once(folder: Path) -> None:
    """Sweep a folder once per process, because listing it for every written file would take quadratic time."""
    sweep(folder)


def _locked_folder(place: Path) -> tuple[Path, int]:
    """Create a temporary folder; return it with the file descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PART, dir=place))
        with suppress(FileNotFoundError):  # another process removed it before it was locked; create another
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
    except OSError:  # a link, a file, another user's folder, or already removed
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
