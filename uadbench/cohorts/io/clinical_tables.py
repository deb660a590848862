"""Interpretation of clinical tables: recognition of columns by name, and conversion of cells to values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from uadbench.cohorts.base import COLUMNS, NUMBERS
from uadbench.cohorts.io.text_tables import column
from uadbench.errors import InputError

ALIASES = {
    "group": ("diagnosis", "group", "dx"),
    "age": ("age",),
    "sex": ("sex", "gender", "ptgender"),
    "site": ("site", "site_id"),
    "scanner": ("scanner", "scanner_model", "manufacturers_model_name"),
    "amyloid": ("amyloid", "amyloid_status", "amyloid_stat"),
    "mmse": ("mmse", "mms", "mmscore"),
}
"""The recognised names of each column of `base.COLUMNS`, the preferred name first (case is ignored)."""

AT_BASELINE = ("bl", "sc", "baseline", "screening")
"""Prefixes and suffixes of columns with values at baseline, as in `diagnosis_bl` and `DX.bl`."""

CHANGES = {"dxchange", "dxchng", "dxcurren"}
"""Columns of ADNI with numeric codes of a change or a stage: 1 may be 'stable NL', 7 'NL to MCI'."""

RANGES = {"age": (0.0, 120.0), "mmse": (0.0, 30.0)}
"""The valid range of numbers; other values, such as an MMSE of 88 or -9, count as unknown."""

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_UNKNOWN = {"", "n/a", "na", "nan", "none", "null", "missing", "unknown", ".", "-1", "-4", "-9"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_TOP_CODED = re.compile(r"(>=?|≥)\s*\d+|\d+\s*\+")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that describe participants, by columns of `base.COLUMNS`.

    Attributes:
        current: Columns with values of the visit (or of the participant, in a table without visits).
        baseline: Columns with values at baseline.
    """

    current: dict[str, str]
    baseline: dict[str, str]

    def __contains__(self, ours: str) -> bool:
        return ours in self.current or ours in self.baseline


def columns_of(file: Path, table: pd.DataFrame, chosen: Mapping[str, str], required: bool = True) -> Columns:
    """Find the columns of a table that describe participants.

    Args:
        file: The file of the table, for error messages.
        table: The table.
        chosen: The column names chosen by the user, which override ALIASES, by columns of `base.COLUMNS`; "" if not
            chosen.
        required: Whether chosen columns must exist.

    Returns:
        The columns.

    Raises:
        InputError: If a chosen column is missing or contains codes of a change, or the preferred of several columns has
            only unknown values while another one has known values.
    """
    plain = {_plain(str(name)): str(name) for name in reversed(list(table.columns))}
    columns = Columns({}, {})
    for ours, names in ALIASES.items():
        if name := chosen.get(ours, ""):
            if name.lower() in CHANGES:
                advice = "add a column of diagnoses such as CN, MCI, AD"
                raise InputError(f"{file}: '{name}' contains codes of a change, not diagnoses; {advice}")
            if required or name.lower() in {str(each).lower() for each in table.columns}:
                part = columns.baseline if is_baseline(name) else columns.current
                part[ours] = column(file, table, name)
            continue
        for part, spellings in (
            (columns.current, names),
            (columns.baseline, [each for n in names for each in _at_baseline(n)]),
        ):
            present = [plain[name] for name in spellings if name in plain]
            if present:
                part[ours] = _filled(file, table, ours, present)
    return columns


def no_diagnoses(where: Path, names: Iterable[str]) -> str:
    """The error message for tables without a column of diagnoses.

    Args:
        where: The table or tree.
        names: The names of all columns.

    Returns:
        The message.
    """
    return f"{where}: no column of diagnoses; choose it with PATH:diagnosis=COLUMN; the columns are {', '.join(names)}"


def _filled(file: Path, table: pd.DataFrame, ours: str, names: list[str]) -> str:
    """The preferred of several columns. Raises InputError if it has only unknown values and another one does not."""
    first, *others = names
    if others and not table[first].map(is_known).any():
        for other in others:
            if table[other].map(is_known).any():
                option = "diagnosis" if ours == "group" else ours
                raise InputError(
                    f"{file}: column '{first}' has no value but '{other}' has some; remove one, or choose with "
                    f"PATH:{option}={other}"
                )
    return first


def is_known(text: str) -> bool:
    """Whether a cell contains a known value.

    Args:
        text: The text of the cell.

    Returns:
        False for an empty cell, n/a and similar texts.
    """
    return text.strip().lower() not in _UNKNOWN


def is_baseline(name: str) -> bool:
    """Whether a column contains values at baseline.

    Args:
        name: The name of the column.

    Returns:
        True if the name has a prefix or suffix such as `_bl`.
    """
    words = _plain(name).split("_")
    return len(words) > 1 and (words[0] in AT_BASELINE or words[-1] in AT_BASELINE)


def _plain(name: str) -> str:
    """A column name in lower case, with words joined by underscores: DX.bl becomes dx_bl."""
    return re.sub(r"[\s._-]+", "_", name.strip().lower())


def _at_baseline(name: str) -> list[str]:
    """The possible names of a column with values at baseline."""
    return [f"{name}_{word}" for word in AT_BASELINE] + [f"{word}_{name}" for word in AT_BASELINE]


class Unusable(ValueError):
    """A cell cannot be parsed; the message says what to write."""


class Unclear(ValueError):
    """A cell has a value that counts as unknown; the message says why."""


def value_of(ours: str, text: str) -> str | float:
    """Convert a cell to a value.

    Args:
        ours: The column of `base.COLUMNS`.
        text: The text of the cell, which is not empty or n/a.

    Returns:
        A number, or a text.

    Raises:
        Unusable: If a number cannot be parsed.
        Unclear: For a value that counts as unknown: a sex other than F or M, a top-coded age such as 89+, or a number
            out of range.
    """
    if ours == "sex":
        if text.lower() not in _SEXES:
            raise Unclear("it counts as unknown; write F or M, or n/a")
        return _SEXES[text.lower()]
    if ours not in NUMBERS:
        return text
    if ours == "age" and _TOP_CODED.fullmatch(text):
        raise Unclear("it counts as unknown; write a number of years to use it")
    if not _NUMBER.fullmatch(text):
        comma = re.fullmatch(r"\d+,\d+", text)
        raise Unusable(f"write {text.replace(',', '.')}" if comma else f"write {NUMBERS[ours]} as a number, or n/a")
    value, (low, high) = float(text), RANGES[ours]
    if not low <= value <= high:
        raise Unclear(f"it is not between {low:g} and {high:g} and counts as unknown")
    return value


def complete(values: Mapping[str, str | float]) -> list[str | float]:
    """Complete a row of the cohort's table.

    Args:
        values: The known values by columns of `base.COLUMNS`.

    Returns:
        The values of all columns after the identifiers; unknown numbers are NaN, and unknown texts are "".
    """
    return [values.get(name, float("nan") if name in NUMBERS else "") for name in COLUMNS[2:]]
