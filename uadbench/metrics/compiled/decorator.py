"""The decorator `compiled`: compiles a function with numba, without the GIL, and caches the machine code; its notice.

Loops are compiled because the equivalent library functions take 16 times as long for the metrics of a case
(`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import numba
from numba.core.event import Event, Listener, install_listener

from uadbench.runtime.progress import Progress

Function = TypeVar("Function", bound=Callable[..., object])

_ALLOWED = {"contract", "reassoc", "nsz", "arcp"}
"""Transformations of sums and products that the compiler may use for vectorisation; they preserve NaN and infinity."""


def compiled(function: Function) -> Function:
    """Compile a function at its first call.

    Compilation takes a few seconds once per machine; later processes load the machine code from a cache beside the
    source, or in the user's cache folder. The cache is invalidated only by changes in the function's own file, so
    compiled functions call only functions in the same file.

    Args:
        function: A function that numba can compile in nopython mode.

    Returns:
        The compiled function.
    """
    try:
        made = numba.njit(nogil=True, cache=True, fastmath=_ALLOWED, error_model="numpy")(function)
    except RuntimeError:  # no cache folder is writable
        made = numba.njit(nogil=True, fastmath=_ALLOWED, error_model="numpy")(function)
    return cast(Function, made)


@contextmanager
def compiling_announced(progress: Progress) -> Iterator[None]:
    """Announce the first compilation within the context; machine code that is loaded from the cache is not announced.

    Args:
        progress: Receives the notice.
    """
    with install_listener("numba:compile", _Announcement(progress)):
        yield


class _Announcement(Listener):
    """Listens to numba, which compiles in the thread that first calls a function."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.announced = False

    def on_start(self, event: Event) -> None:
        """Announce the first compilation of a function of uadbench."""
        function = event.data["dispatcher"]
        if self.announced or not function.py_func.__module__.startswith("uadbench."):
            return
        self.announced = True
        kept = function.stats.cache_path is not None
        when = "once per machine" if kept else "in every process, because no cache folder is writable"
        self.progress.notice(f"compiling kernels, {when} ...")

    def on_end(self, event: Event) -> None:
        """Do nothing."""
