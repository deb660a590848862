"""File locks that the operating system releases when the process ends, even if it is killed."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""Error numbers of file systems without locks."""


def lock_at(file: Path, mode: int = 0o644) -> BaseFileLock:
    """Make a file lock, which is not yet acquired.

    On a file system without locks, acquiring it raises NotImplementedError or OSError. There is no fallback to a marker
    file, which would remain after a process was killed and block all others permanently.

    Args:
        file: The file to lock; it is created if it does not exist, and may remain.
        mode: The permissions of the file.

    Returns:
        The lock.
    """
    from filelock import FileLock

    return FileLock(file, mode=mode, fallback_to_soft=False)


def cannot_lock(error: OSError | NotImplementedError) -> bool:
    """Whether acquiring a lock failed because the file system has no locks.

    Args:
        error: The error.

    Returns:
        True if the file system has no locks.
    """
    return isinstance(error, NotImplementedError) or error.errno in WITHOUT_LOCKS
