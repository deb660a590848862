"""Locks on files that the system lets go of when their process ends, in whatever way."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What file systems without locks answer."""


def lock_at(file: Path, mode: int = 0o644) -> BaseFileLock:
    """A lock that is not held yet.

    Where the file system has no locks, acquiring it raises NotImplementedError or OSError: there is no fallback to a
    marker, which would stay where its process was killed and block everybody for good.

    Args:
        file: The file that is locked; it is made where there is none, and may stay.
        mode: The permissions of the file.

    Returns:
        The lock.
    """
    from filelock import FileLock

    return FileLock(file, mode=mode, fallback_to_soft=False)


def cannot_lock(error: OSError | NotImplementedError) -> bool:
    """Whether an error of acquiring a lock says that the file system has no locks."""
    return isinstance(error, NotImplementedError) or error.errno in WITHOUT_LOCKS
