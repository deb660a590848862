"""The decorator `compiled`: compiles a function with numba, without the GIL, and caches the machine code.

Loops are compiled because the equivalent library functions take 16 times as long for the metrics of a case
(`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

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
