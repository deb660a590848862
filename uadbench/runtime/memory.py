"""Memory: freed blocks are kept for the next step, pages of mapped files are handed back after use.

Written here because neither torch nor NumPy gives access to `mallopt` and `madvise`.
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
    """Tell glibc to reuse large blocks instead of mapping fresh, zeroed pages at every training step.

    A 3D training step frees and asks for the same hundreds of megabytes again and again; by default
    each is a system call and a page fault per 4 KiB. Does nothing where the C library is not glibc.
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
    """Hand back the memory of an array that is a part of a mapped file, which is read again where it is used again.

    Without this a process holds whatever it has ever looked at. Does nothing for other arrays, and none that may have
    been written to.
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
