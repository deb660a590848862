"""How loops over voxels become machine code: numba, without Python's lock, kept between runs.

Written here because libraries take 16 times as long for the metrics of a case (`benchmarks/README.md`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])

_ALLOWED = {"contract", "reassoc", "nsz", "arcp"}
"""What the compiler may do to sums and products so that they fit vector instructions; NaN and infinity stay what they
are."""


def compiled(function: Function) -> Function:
    """Compile at the first call, a few seconds once a machine; later runs load what is beside the source or in a cache.

    The cache knows when the function's own file changes, and no other: a compiled function calls none of another file.
    """
    try:
        made = numba.njit(nogil=True, cache=True, fastmath=_ALLOWED, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep it in can be written
        made = numba.njit(nogil=True, fastmath=_ALLOWED, error_model="numpy")(function)
    return cast(Function, made)
