"""Cases in chunks for the model, in pieces for the metrics, and their scores in one table."""

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
"""Name -> one value a case."""

VOXELS_AT_ONCE = 5_600_000
"""Bounds memory: all 66 cases on the 4 mm grid, 9 on the 2 mm grid. Scores do not depend on it."""


def chunks_of(cases: Iterator[Case], voxels: int) -> Iterator[list[Case]]:
    """Cases as many at once as VOXELS_AT_ONCE allows, at least one.

    Args:
        cases: They are simulated as the iterator is read.
        voxels: The number of voxels of an image.
    """
    at_once = max(1, VOXELS_AT_ONCE // voxels)
    while True:
        with phase("simulation"):
            chunk = list(islice(cases, at_once))
        if not chunk:
            return
        yield chunk


def pieces_of(cases: Sequence[Case], most: int) -> list[slice]:
    """Runs of consecutive cases of one anomaly and one truth (the same object), none longer than `most`."""
    starts = [0]
    for index in range(1, len(cases)):
        here, first = cases[index], cases[starts[-1]]
        if here.anomaly != first.anomaly or here.truth is not first.truth or index - starts[-1] == most:
            starts.append(index)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(cases)], strict=True)]


def table_of(pieces: Sequence[Columns]) -> pd.DataFrame:
    """One table of the columns of many pieces, NaN where a piece lacks a column.

    It is made at once: one table a piece, concatenated, takes ten times as long.

    Args:
        pieces: Each has a column `severity`, and columns of that length.
    """
    names = dict.fromkeys(name for piece in pieces for name in piece)
    sizes = [len(piece["severity"]) for piece in pieces]
    columns = {
        name: np.concatenate([piece.get(name, np.full(n, np.nan)) for piece, n in zip(pieces, sizes, strict=True)])
        for name in names
    }
    return pd.DataFrame(columns)
