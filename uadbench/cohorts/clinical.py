"""Tables about people in our terms: columns by the names they go by, cells as numbers, F or M, or nothing."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from uadbench.cohorts.base import COLUMNS, NUMBERS
from uadbench.cohorts.findings import Finding, tell
from uadbench.errors import InputError
from uadbench.registry import did_you_mean

ALIASES = {
    "group": ("diagnosis", "group", "diagnosis_bl", "dx", "dx_bl"),
    "age": ("age", "age_bl"),
    "sex": ("sex", "gender", "ptgender"),
    "site": ("site", "site_id"),
    "scanner": ("scanner", "scanner_model", "manufacturers_model_name"),
    "amyloid": ("amyloid", "amyloid_status", "amyloid_stat"),
    "mmse": ("mmse", "mms", "mmscore"),
}
"""Our column -> the names it goes by, the best first (compared without case)."""

LARGEST_TABLE = 64 << 20
"""Bytes. ADNIMERGE, with 116 columns, has 12 million."""

MOST_COLUMNS, MOST_ROWS, MOST_CELLS = 2_000, 200_000, 5_000_000
"""Of a table; short rows are filled up, so that a small file can have many cells."""

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_UNKNOWN = {"", "n/a", "na", "nan", "none", "-1", "unknown", "-4"}

Facts = dict[str, str | float]


def read_table(file: Path) -> pd.DataFrame:
    """A table as text, separated by tabs (.tsv) or commas (.csv); column names as they are, but without blanks around.

    Raises InputError for a file that is missing or no table.
    """
    if not file.is_file():
        raise InputError(f"{file}: {'is a folder' if file.is_dir() else 'no such file'}; give a .tsv or .csv table")
    mark = "," if file.suffix.lower() == ".csv" else "\t"
    try:
        most = _most_rows(file, mark)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row that is too long would lose its end
            table = pd.read_csv(
                file,
                sep=mark,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
                nrows=most + 1,
                compression=None,
            )
        if len(table) > most:
            raise ValueError(f"it has more than {most} rows")
        table.columns = table.columns.astype(str).str.strip()
        if not table.columns.is_unique:
            raise ValueError(f"it has two columns '{table.columns[table.columns.duplicated()][0]}'")
    except (ValueError, OSError, csv.Error, pd.errors.ParserWarning) as error:
        raise InputError(f"{file}: not a readable table ({' '.join(str(error).split())}); save it as TSV") from None
    return table


def _most_rows(file: Path, mark: str) -> int:
    """How many rows a table may have, from its columns. Raises ValueError, OSError or csv.Error if it is too large."""
    if (size := file.stat().st_size) > LARGEST_TABLE:
        raise ValueError(f"it has {size} bytes; a table has at most {LARGEST_TABLE}")
    with file.open(encoding="utf-8-sig", newline="") as handle:
        lines = csv.reader(io.StringIO(handle.read(1 << 20), newline=""), delimiter=mark)
    columns = next((line for line in lines if len(line) > 1 or "".join(line).strip()), [])
    if len(columns) > MOST_COLUMNS or sum(map(len, columns)) > 1 << 19:
        raise ValueError(f"it has {len(columns)} columns or more; a table has at most {MOST_COLUMNS}")
    return min(MOST_ROWS, MOST_CELLS // max(len(columns), 1))


def sources(file: Path, columns: pd.Index[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Our columns to the table's: what the user has `chosen`, else the first alias that is there.

    Raises InputError for a chosen column that the table lacks.
    """
    lower = {name.lower(): name for name in reversed(list(columns))}
    found = {}
    for ours, names in ALIASES.items():
        if chosen.get(ours):
            found[ours] = require(file, columns, chosen[ours])
        elif name := next((lower[alias] for alias in names if alias in lower), ""):
            found[ours] = name
    return found


def require(file: Path, columns: pd.Index[str], name: str) -> str:
    """The table's own spelling of a column. Raises InputError where it has none of that name."""
    lower = {column.lower(): column for column in reversed(list(columns))}
    if name.lower() not in lower:
        hint = did_you_mean(name, list(columns))
        raise InputError(f"{file}: has no column '{name}'; {hint}")
    return lower[name.lower()]


def facts(file: Path, row: Mapping[str, str], columns: Mapping[str, str], who: str) -> Facts:
    """What a row says of a person, in our columns; what it does not say is left out."""
    found: Facts = {}
    for ours, source in columns.items():
        text = str(row[source]).strip()
        if text.lower() in _UNKNOWN:
            continue
        if ours == "sex":
            if text.lower() in _SEXES:
                found[ours] = _SEXES[text.lower()]
            else:
                tell(Finding("table", str(file), f"{who} has sex '{text}'", "write F or M, or n/a"))
        elif ours in NUMBERS:
            try:
                found[ours] = _number(text)
            except ValueError:
                advice = f"write {NUMBERS[ours]} as a number, or n/a"
                tell(Finding("table", str(file), f"{who} has {ours} '{text}'", advice))
        else:
            found[ours] = text
    return found


def _number(text: str) -> float:
    value = float(text)
    if not -1e9 < value < 1e9:  # false for NaN, too
        raise ValueError(text)
    return value


def complete(found: Facts) -> list[str | float]:
    """The cells of `base.COLUMNS` after the ids; unknown numbers are NaN, unknown words empty."""
    return [found.get(name, float("nan") if name in NUMBERS else "") for name in COLUMNS[2:]]


def is_baseline(column: str) -> bool:
    """Whether a table's column tells what was so at baseline."""
    return column.lower().endswith("_bl")
