"""One reader for every TSV and CSV file: text cells, the file's own line numbers, and no row that disappears.

pandas' reader joins lines between two quotation marks, fills short rows and renames columns: people disappear, or get
another's values, and nothing is said.

That is why it is written here; `tests/cohorts/io/test_text_tables.py` has such files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from uadbench.errors import InputError
from uadbench.registry import did_you_mean

LARGEST_TABLE = 64 << 20
"""Bytes. ADNIMERGE, with 116 columns, has 12 million."""

LONGEST_LINE, MOST_LINES = 1 << 20, 1_000_000
"""Characters of a line, and lines of a file, blank ones included."""

MOST_COLUMNS, MOST_ROWS, MOST_CELLS = 2_000, 200_000, 5_000_000
"""Of a table; short rows are filled up, so that a small file can have many cells."""

_OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet (.xlsx, .ods) or another zip file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls)",
    b"\x1f\x8b": "compressed (gzip)",
    b"%PDF": "a PDF",
}
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars", " ": "blanks"}

Row = tuple[int, list[str]]
"""A line's number in its file, from 1, and its cells."""


def read_table(file: Path) -> pd.DataFrame:
    """Read a table as text: tabs separate the cells of a .tsv file, commas those of any other.

    Quotation marks are ordinary characters in a TSV file, except around a whole cell. Blank lines are skipped, missing
    cells at the end of a line are empty, and a column without a name is left out.

    Args:
        file: a .tsv or .csv file in UTF-8.

    Returns:
        A DataFrame of str, without blanks around names and cells. Its index, `line`, holds the file's line numbers.

    Raises:
        InputError: for a file that is missing, too large or no such table, for a line with too many cells or with a
            quotation that is not closed, and for two columns whose names differ in case only.
    """
    if not file.is_file():
        raise InputError(f"{file}: {'is a folder' if file.is_dir() else 'no such file'}; give a .tsv or .csv table")
    try:
        lines = _lines(_text(file))
        rows = iter(_csv_rows(lines) if file.suffix.lower() == ".csv" else _tsv_rows(lines))
        names = next((cells for _, cells in rows if any(cells)), [])
        if not names:
            raise ValueError("is empty; its first line must name the columns")
        _check_names(names)
        found = list(_bounded(rows, len(names)))
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from None
    named = [position for position, name in enumerate(names) if name]
    index = pd.Index([number for number, _ in found], name="line", dtype=int)
    cells = [[row[position] for position in named] for _, row in found]
    return pd.DataFrame(cells, index=index, columns=[names[position] for position in named], dtype=object)


def rows_of(table: pd.DataFrame) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the cells, by column, of each row of a table that `read_table` has read."""
    names = [str(name) for name in table.columns]
    for line, cells in zip(table.index, table.to_numpy(dtype=object).tolist(), strict=True):
        yield int(line), dict(zip(names, cells, strict=True))


def column(file: Path, table: pd.DataFrame, name: str, option: str = "") -> str:
    """Return the table's own spelling of a column.

    Raises:
        InputError: Where no column has that name; `option` is the one that chooses another.
    """
    lower = {str(each).lower(): str(each) for each in table.columns}
    if name.lower() not in lower:
        hint = did_you_mean(name, list(lower.values()))
        choice = f"; choose it with PATH:{option}=COLUMN" if option else ""
        raise InputError(f"{file}: has no column '{name}'; {hint}{choice}")
    return lower[name.lower()]


def _text(file: Path) -> str:
    """The content of a text file. Raises ValueError, saying what the file is and how to save it, for anything else."""
    if (size := file.stat().st_size) > LARGEST_TABLE:
        raise ValueError(f"has {size} bytes; a table has at most {LARGEST_TABLE}")
    with file.open("rb") as handle:
        raw = handle.read(LARGEST_TABLE)
    for start, what in _OTHER_FILES.items():
        if raw.startswith(start):
            raise ValueError(f"is {what}, not a text file; save it as TSV (UTF-8)")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4096]:
        raise ValueError("is UTF-16 or binary, not UTF-8; save it as TSV or CSV in UTF-8 (Excel: 'CSV UTF-8')")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"line {line} holds the byte {raw[error.start]:#x}, which is not UTF-8 (Latin-1?)"
        raise ValueError(f"{what}; save the table in UTF-8 (Excel: 'CSV UTF-8')") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and lines that are not blank; only a line feed and a carriage return end a line."""
    start = 0
    for number, end in enumerate(re.finditer(r"\r\n|\n|\r|\Z", text), start=1):
        if number > MOST_LINES:
            raise ValueError(f"has more than {MOST_LINES} lines")
        if end.start() - start > LONGEST_LINE:
            raise ValueError(f"line {number} has {end.start() - start} characters; a line has at most {LONGEST_LINE}")
        line = text[start : end.start()]
        if not line.isspace() and line:
            yield number, line
        start = end.end()


def _tsv_rows(lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    """Rows of cells separated by tabs. Raises ValueError for a cell with a line break."""
    width = opened = 0
    for number, line in lines:
        cells = [cell.strip() for cell in line.split("\t")]
        if not width:
            _check_separator(line, "\t")
            width = len(cells)
        if opened and (len(cells) < width or cells[0].endswith('"')):
            raise ValueError(f"lines {opened} and {number} seem to be one row with a line break in a cell; join them")
        opened = number if cells[-1].startswith('"') and not _is_quoted(cells[-1]) else 0
        yield number, [cell[1:-1].replace('""', '"').strip() if _is_quoted(cell) else cell for cell in cells]


def _is_quoted(cell: str) -> bool:
    """Whether quotation marks enclose a whole cell, as other programs write it."""
    return len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _csv_rows(lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    """Rows of cells separated by commas. Raises ValueError for a quotation that is not closed within its line."""
    names: list[str] = []
    for number, line in lines:
        cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))]
        if not names:
            _check_separator(line, ",")
            names = cells
        try:
            next(csv.reader([line], skipinitialspace=True, strict=True))
        except csv.Error:
            where = f"line {number}, column '{names[min(len(cells), len(names)) - 1]}'"
            raise ValueError(f"{where}: an unpaired quotation mark, or a line break in a cell; remove it") from None
        if len(cells) < len(names) and (joined := next((cell for cell in cells if "," in cell), "")):
            what = f"line {number} has {len(cells)} of {len(names)} cells, one of them {joined[:40]!r}"
            raise ValueError(f"{what}; check its quotation marks")
        yield number, cells


def _check_separator(header: str, mark: str) -> None:
    """Raises ValueError for a first line that something else separates."""
    if header.lower().startswith("sep="):
        raise ValueError(f"begins with '{header[:6]}', a note for Excel; save it as TSV, separated by tabs")
    if mark in header:
        return
    for other, name in _SEPARATORS.items():
        if other in header.strip():
            remedy = "name it .csv" if other == "," else "name it .tsv" if other == "\t" else "save it as TSV"
            raise ValueError(f"is separated by {name}, not by {_SEPARATORS[mark]}; {remedy}")


def _check_names(names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"has {len(names)} columns; a table has at most {MOST_COLUMNS}")
    known: dict[str, str] = {}
    for name in filter(None, names):
        if (other := known.get(name.lower())) is not None:
            both = f"two columns '{name}'" if other == name else f"the columns '{other}' and '{name}'"
            raise ValueError(f"has {both}; keep or rename one")
        known[name.lower()] = name


def _bounded(rows: Iterator[Row], width: int) -> Iterator[Row]:
    """The rows, each as long as the header. Raises ValueError for a longer one, and for too many."""
    most = min(MOST_ROWS, MOST_CELLS // width)
    for count, (number, cells) in enumerate((row for row in rows if any(row[1])), start=1):
        if count > most:
            raise ValueError(f"has more than {most} rows")
        if any(cells[width:]):
            names = "; from R, write it with row.names=FALSE" if len(cells) == width + 1 else ""
            raise ValueError(f"line {number} has {len(cells)} cells, and the first line names {width} columns{names}")
        yield number, cells[:width] + [""] * (width - len(cells))
