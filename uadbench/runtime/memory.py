"""Memory management: reuse of freed blocks during training, and release of the pages of memory-mapped files.

Neither torch nor NumPy provides access to `mallopt` and `madvise`, which are used here.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PAD_BYTES = 64 << 20


def keep_freed_memory() -> None:
    """Make glibc reuse large blocks of memory instead of mapping new, zeroed pages at each training step.

    A 3D training step repeatedly frees and allocates the same hundreds of megabytes; by default, each allocation
    requires a system call and a page fault per 4 KiB. If the C library is not glibc, nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, _PAD_BYTES)


def peak_resident_bytes() -> int:
    """The most memory, in bytes, that was resident since this program began.

    On Linux it is read from /proc: `getrusage` also counts the memory of the program that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def release_pages(array: npt.NDArray[np.float32]) -> None:
    """Release the memory of an array in a memory-mapped file; the file is read again at the next access.

    Without this, the memory of the process grows with all data that it has read. Writeable arrays and arrays that are
    not memory-mapped are left alone.

    Args:
        array: Part of a memory-mapped file.
    """
    if array.flags.writeable:
        return
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        start = array.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
        first = start - start % mmap.PAGESIZE
        base.madvise(mmap.MADV_DONTNEED, first, start + array.nbytes - first)
