"""The contract of a cohort: a table of scans, and the scans themselves on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uadbench.types import Grid, Scan

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("participant_id", "session_id", "group", "age", "sex", "site", "mmse")
"""The columns that every cohort's table has, in this order.

`group` is "CN" (healthy) or another diagnosis; `age` is in years at that session, NaN where unknown;
`sex` is "F", "M" or ""; `site` is "" where unknown; `mmse` is the Mini-Mental State Examination (0 to 30) at that
session, NaN where unknown.
"""


@runtime_checkable
class Cohort(Protocol):
    """A source of scans.

    Attributes
    ----------
    name : what it is called in results, such as "phantom"
    version : changes whenever the same row would give another image
    participants : DataFrame, one row a scan with the columns COLUMNS, sorted by
        (participant_id, session_id), index 0..n-1; a participant has one row per session
    """

    name: str
    version: str
    participants: pd.DataFrame

    def content_key(self, rows: pd.DataFrame) -> str:
        """A hash that changes whenever any of these rows' images would change."""

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Yield the scans of these rows of `participants`, in their order, on the grid.

        `Scan.data` is (X, Y, Z) float32 SUVR; `Scan.affine` is the grid's.
        Raises InputError, naming the file, for a scan that cannot be used.
        """
