"""One process at a time works on a run, however many sweeps share an output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uadbench.errors import Unfinished
from uadbench.runtime.locks import lock_at


class Claimed(Unfinished):
    """Another process works on the run."""


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run folder. The system lets go of it when the process ends, in whatever way.

    The lock is a file beside the folder, which may be removed and made again inside. Where the file system has no locks
    nothing is held.

    Raises:
        Claimed: If another process holds it.
    """
    from filelock import Timeout

    lock = lock_at(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Claimed(f"{folder}: another process works on it") from None
    except (OSError, NotImplementedError):  # what else is wrong with the folder is told by whoever writes in it
        pass
    try:
        yield
    finally:
        lock.release()
