"""Exclusive access to a run folder, so that several sweeps can share an output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uadbench.errors import Unfinished
from uadbench.runtime.locks import lock_at


class Claimed(Unfinished):
    """Another process is working on the run."""


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Lock a run folder; the operating system releases the lock when the process ends, even if it is killed.

    The lock is a file beside the folder, so that the folder can be removed and created again within the context. On a
    file system without locks, nothing is locked.

    Args:
        folder: The run folder.

    Raises:
        Claimed: If another process holds the lock.
    """
    from filelock import Timeout

    lock = lock_at(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Claimed(f"{folder}: another process is working on it") from None
    except (OSError, NotImplementedError):  # other problems with the folder are reported when files are written
        pass
    try:
        yield
    finally:
        lock.release()
