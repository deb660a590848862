"""The protocol class `Cohort`, which every cohort implements: a table of scans, and the scans on a grid."""

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

`group` is the diagnosis, such as "CN"; `age` is in years at that session, NaN if unknown; `sex` is "F", "M" or "";
`site`, `scanner` and `amyloid` (status) are "" if unknown; `mmse` is the score of the Mini-Mental State Examination
(0 to 30) at that session, NaN if unknown.
"""

NUMBERS = {"age": "years", "mmse": "points (0 to 30)"}
"""The columns with numbers, and their units."""

STRATA: tuple[Literal["site", "scanner", "amyloid"], ...] = ("site", "scanner", "amyloid")
"""The columns by which scores are stratified if they contain values."""


@runtime_checkable
class Cohort(Protocol):
    """A source of scans.

    Attributes:
        name: The name in results, such as "phantom"; it must not reveal anything about a machine or a person.
        version: The version, which changes whenever the same row would give a different image.
        public: Whether participants may be identified in shared results. If not, all random draws for them depend on
            the secret of the cohort (see `secrecy`), which is stored under its name, or under its optional attribute
            `identity`.
        participants: A DataFrame with the columns COLUMNS and one row per scan, sorted by (participant_id, session_id),
            with the index 0..n-1.
        visits: Optional; see `visits_of`.
    """

    name: str
    version: str
    public: bool
    participants: pd.DataFrame

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """Keys that change whenever an image would change.

        Args:
            rows: Rows of `participants`.

        Returns:
            A text for each row.
        """

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Read scans on a grid.

        Args:
            grid: The grid.
            rows: Rows of `participants`.

        Yields:
            The scans, in the order of the rows. `Scan.data` is (X, Y, Z) float32, SUVR; `Scan.affine` is that of the
            grid.

        Raises:
            findings.ScanError: If a scan cannot be used; the message names the file. The caller continues by calling
                this method again with the following rows.
        """


def visits_of(cohort: Cohort) -> pd.DataFrame:
    """All known diagnoses of a cohort, including those of visits without a scan.

    Args:
        cohort: The cohort.

    Returns:
        A DataFrame with participant_id, session_id and group: the attribute `visits` of the cohort if it has one,
        otherwise its table of scans.
    """
    visits: pd.DataFrame = getattr(cohort, "visits", cohort.participants)
    return visits


def is_id(text: str) -> bool:
    """Whether a text is a valid identifier of a participant or session: one line that is not a file path.

    Args:
        text: The identifier.

    Returns:
        True if it is valid.
    """
    return 0 < len(text) <= 128 and text.isprintable() and not set("/\\") & set(text) and text not in {".", ".."}


def content_key(cohort: Cohort, rows: pd.DataFrame) -> str:
    """A hash that changes whenever an image of these rows would change; keyed by the secret of a private cohort.

    Args:
        cohort: The cohort.
        rows: Rows of `cohort.participants`.

    Returns:
        The hash.
    """
    return secret_of(cohort).seal(content_hash(cohort.name, cohort.version, cohort.scan_keys(rows)))


def keys_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The participant and session of each row.

    Args:
        rows: Rows of a cohort's table.

    Returns:
        (participant, session) for each row.
    """
    return [(str(p), str(s)) for p, s in zip(rows[KEY[0]], rows[KEY[1]], strict=True)]


def scan_of(row: pd.Series, grid: Grid, data: object, extent: tuple[float, float]) -> Scan:
    """Make a scan from its image and its row of the table.

    Args:
        row: The row.
        grid: The grid of the image.
        data: (X, Y, Z) float32, SUVR.
        extent: The smallest and largest SUVR at the original resolution.

    Returns:
        The scan.
    """
    properties = {name: float(row[name]) if name in NUMBERS else row[name] for name in COLUMNS[2:]}
    return Scan(row.participant_id, row.session_id, data, grid.affine, extent, **properties)  # type: ignore[arg-type]
