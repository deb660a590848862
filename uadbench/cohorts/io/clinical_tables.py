"""What tables say about people, in our terms: columns by the names they go by, cells as numbers, F or M, or unknown."""

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
"""Our column -> the names it goes by, the best first (compared without case)."""

AT_BASELINE = ("bl", "sc", "baseline", "screening")
"""Before or behind a column's name they say what was so at baseline, as in `diagnosis_bl` and `DX.bl`."""

CHANGES = {"dxchange", "dxchng", "dxcurren"}
"""Columns of ADNI that code a change, or a stage, as numbers: 1 may be 'stable NL', 7 'NL to MCI'."""

RANGES = {"age": (0.0, 120.0), "mmse": (0.0, 30.0)}
"""What a number may be; anything else, such as 88 or -9, stands for an unknown value."""

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_UNKNOWN = {"", "n/a", "na", "nan", "none", "null", "missing", "unknown", ".", "-1", "-4", "-9"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_TOP_CODED = re.compile(r"(>=?|≥)\s*\d+|\d+\s*\+")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that say something about people.

    Attributes:
        current: our column -> the table's, for values of the row's visit (or of the person, in a table without visits).
        baseline: our column -> the table's, for values at baseline.
    """

    current: dict[str, str]
    baseline: dict[str, str]

    def __contains__(self, ours: str) -> bool:
        return ours in self.current or ours in self.baseline


def columns_of(file: Path, table: pd.DataFrame, chosen: Mapping[str, str], required: bool = True) -> Columns:
    """Find the columns of a table that say something about people.

    Args:
        chosen: our column -> the name that the user gave, which outweighs ALIASES; "" for none.
        required: whether a chosen column must be there.

    Raises:
        InputError: for a chosen column that the table lacks or that codes a change, and where the first of several
            names has only unknown values while another one has known values.
    """
    plain = {_plain(str(name)): str(name) for name in reversed(list(table.columns))}
    found = Columns({}, {})
    for ours, names in ALIASES.items():
        if name := chosen.get(ours, ""):
            if name.lower() in CHANGES:
                advice = "add a column of diagnoses such as CN, MCI, AD"
                raise InputError(f"{file}: '{name}' holds codes of a change, not diagnoses; {advice}")
            if required or name.lower() in {str(each).lower() for each in table.columns}:
                part = found.baseline if is_baseline(name) else found.current
                part[ours] = column(file, table, name)
            continue
        for part, spellings in (
            (found.current, names),
            (found.baseline, [each for n in names for each in _at_baseline(n)]),
        ):
            there = [plain[name] for name in spellings if name in plain]
            if there:
                part[ours] = _filled(file, table, ours, there)
    return found


def no_diagnoses(where: Path, names: Iterable[str]) -> str:
    """The error for tables without a column of diagnoses."""
    return f"{where}: no column of diagnoses; name it: PATH:diagnosis=COLUMN; the columns are {', '.join(names)}"


def _filled(file: Path, table: pd.DataFrame, ours: str, names: list[str]) -> str:
    """The first of several columns for the same. Raises InputError where it is empty and another one is not."""
    first, *others = names
    if others and not table[first].map(is_known).any():
        for other in others:
            if table[other].map(is_known).any():
                option = "diagnosis" if ours == "group" else ours
                raise InputError(
                    f"{file}: column '{first}' has no value and '{other}' has some; remove one, or choose with "
                    f"PATH:{option}={other}"
                )
    return first


def is_known(text: str) -> bool:
    """Whether a cell holds a value."""
    return text.strip().lower() not in _UNKNOWN


def is_baseline(name: str) -> bool:
    """Whether a table's column says what was so at baseline."""
    words = _plain(name).split("_")
    return len(words) > 1 and (words[0] in AT_BASELINE or words[-1] in AT_BASELINE)


def _plain(name: str) -> str:
    """A column's name in small letters, its words joined by underscores: DX.bl is dx_bl."""
    return re.sub(r"[\s._-]+", "_", name.strip().lower())


def _at_baseline(name: str) -> list[str]:
    """What a column is called that holds a value at baseline."""
    return [f"{name}_{word}" for word in AT_BASELINE] + [f"{word}_{name}" for word in AT_BASELINE]


class Unusable(ValueError):
    """A cell that holds no value of its column: its message says what to write."""


class Unclear(ValueError):
    """A cell whose value counts as unknown."""


def value_of(ours: str, text: str) -> str | float:
    """Read a cell that holds a value.

    Raises:
        Unusable: for a number that cannot be read.
        Unclear: for a value that counts as unknown: a sex other than F or M, a top-coded age such as 89+, a number out
            of range.
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
    """The cells of `base.COLUMNS` after the ids; unknown numbers are NaN, unknown words empty."""
    return [values.get(name, float("nan") if name in NUMBERS else "") for name in COLUMNS[2:]]
