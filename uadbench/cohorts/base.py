"""The contract of a cohort: a table of scans, and the scans themselves on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from uadbench.cohorts.secrecy import secret_of
from uadbench.runtime.files import content_hash
from uadbench.types import Grid, Scan

if TYPE_CHECKING:
    import pandas as pd

KEY = ("participant_id", "session_id")

COLUMNS = (*KEY, "group", "age", "sex", "site", "scanner", "amyloid", "mmse")
"""The columns that every cohort's table has, in this order.

`group` is the diagnosis, such as "CN"; `age` is in years at that session, NaN where unknown; `sex` is "F", "M" or "";
`site`, `scanner` and `amyloid` (status) are "" where unknown; `mmse` is the Mini-Mental State Examination (0 to 30) at
that session, NaN where unknown.
"""

NUMBERS = {"age": "years", "mmse": "points (0 to 30)"}
"""The columns that hold numbers, and their units."""

STRATA: tuple[Literal["site", "scanner", "amyloid"], ...] = ("site", "scanner", "amyloid")
"""The columns by which scores are told apart where they are filled in."""


@runtime_checkable
class Cohort(Protocol):
    """A source of scans.

    Attributes:
        name: What it is called in results, such as "phantom"; it tells nothing of a machine or a person.
        version: Changes whenever the same row would give another image.
        public: Whether participants may be named in what is shared; where not, all that is drawn for them depends on
            the secret of the cohort (see `secrecy`), which is kept under its name, or under its `identity` if it has
            one.
        visits: Optional; see `visits_of`.
        participants: DataFrame, one row a scan with the columns COLUMNS, sorted by (participant_id, session_id), index
            0..n-1; a participant has one row per session.
    """

    name: str
    version: str
    public: bool
    participants: pd.DataFrame

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """For each of these rows a text that changes whenever its image would change."""

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Yield the scans of these rows of `participants`, in their order, on the grid.

        `Scan.data` is (X, Y, Z) float32 SUVR; `Scan.affine` is the grid's.
        Raises `findings.ScanError`, naming the file, for a scan that cannot be used; asked again for the
        rows that follow, it goes on with them.
        """


def visits_of(cohort: Cohort) -> pd.DataFrame:
    """Every diagnosis that a cohort knows: participant_id, session_id and group of visits, scanned or not.

    That is its attribute `visits` where it has one, else the table of its scans.
    """
    visits: pd.DataFrame = getattr(cohort, "visits", cohort.participants)
    return visits


def is_id(text: str) -> bool:
    """Whether a participant or session may be called so: a line that no file system takes for a way somewhere."""
    return 0 < len(text) <= 128 and text.isprintable() and not set("/\\") & set(text) and text not in {".", ".."}


def content_key(cohort: Cohort, rows: pd.DataFrame) -> str:
    """A hash that changes whenever any of these rows' images would change; of a private cohort, with its secret."""
    return secret_of(cohort).seal(content_hash(cohort.name, cohort.version, cohort.scan_keys(rows)))


def keys_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(participant, session) of each row."""
    return [(str(p), str(s)) for p, s in zip(rows[KEY[0]], rows[KEY[1]], strict=True)]


def scan_of(row: pd.Series, grid: Grid, data: object, extent: tuple[float, float]) -> Scan:
    """A scan with what its row of the table says of it."""
    known = {name: float(row[name]) if name in NUMBERS else row[name] for name in COLUMNS[2:]}
    return Scan(row.participant_id, row.session_id, data, grid.affine, extent, **known)  # type: ignore[arg-type]
