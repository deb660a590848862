"""Grouping of cases into chunks for the model and pieces for the metrics, and of their scores into one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.runtime.profiling import phase
from uadbench.types import Case

Column = list[str] | list[float] | npt.NDArray[np.float64]
Columns = dict[str, Column]
"""Name of the column -> one value per case."""

VOXELS_AT_ONCE = 5_600_000
"""Voxels of the cases in one chunk: all 66 cases on the 4 mm grid, 9 on the 2 mm grid. Limits memory only."""


def images_at_once(voxels: int) -> int:
    """The number of images of `voxels` voxels that a model processes together, at least one."""
    return max(1, VOXELS_AT_ONCE // voxels)


def chunks_of(cases: Iterator[Case], voxels: int) -> Iterator[list[Case]]:
    """Yield the cases in chunks of at most VOXELS_AT_ONCE voxels, but at least one case.

    Args:
        cases: The cases, which are simulated while the iterator is read.
        voxels: Number of voxels of an image.
    """
    at_once = images_at_once(voxels)
    while True:
        with phase("simulation"):
            chunk = list(islice(cases, at_once))
        if not chunk:
            return
        yield chunk


def pieces_of(cases: Sequence[Case], most: int) -> list[slice]:
    """Slices of consecutive cases with the same anomaly and truth (the same object), at most `most` cases each."""
    starts = [0]
    for index in range(1, len(cases)):
        here, first = cases[index], cases[starts[-1]]
        if here.anomaly != first.anomaly or here.truth is not first.truth or index - starts[-1] == most:
            starts.append(index)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(cases)], strict=True)]


def table_of(pieces: Sequence[Columns]) -> pd.DataFrame:
    """Combine the columns of many pieces into one table, with NaN where a piece lacks a column.

    The table is created at once; concatenating one table per piece takes ten times as long.

    Args:
        pieces: The columns of each piece, which have the length of its column `severity`.
    """
    names = dict.fromkeys(name for piece in pieces for name in piece)
    sizes = [len(piece["severity"]) for piece in pieces]
    columns = {
        name: np.concatenate([piece.get(name, np.full(n, np.nan)) for piece, n in zip(pieces, sizes, strict=True)])
        for name in names
    }
    return pd.DataFrame(columns)
