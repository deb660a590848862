"""Reading of TSV and CSV tables as text, with the line numbers of the file and without losing rows.

The reader of pandas is not used because it joins lines between two quotation marks, fills short rows and renames
columns, so that participants are lost or get wrong values without an error; see
`tests/cohorts/io/test_text_tables.py` for examples.
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
"""The largest size of a table, in bytes. ADNIMERGE, with 116 columns, has 12 million."""

LONGEST_LINE, MOST_LINES = 1 << 20, 1_000_000
"""The largest number of characters in a line, and of lines in a file, including blank lines."""

MOST_COLUMNS, MOST_ROWS, MOST_CELLS = 2_000, 200_000, 5_000_000
"""The largest numbers of columns, rows and cells. Short rows are padded, so that a small file can have many cells."""

_OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet (.xlsx, .ods) or another zip file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls)",
    b"\x1f\x8b": "compressed (gzip)",
    b"%PDF": "a PDF",
}
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars", " ": "blanks"}

Row = tuple[int, list[str]]
"""The line number in the file, from 1, and the cells."""


def read_table(file: Path) -> pd.DataFrame:
    """Read a table as text: cells are separated by commas in a .csv file, and by tabs in any other file.

    In a TSV file, quotation marks are ordinary characters except around a whole cell. Blank lines are skipped, missing
    cells at the end of a line are empty, and columns without a name are left out.

    Args:
        file: A .tsv or .csv file in UTF-8.

    Returns:
        A DataFrame of str, without white space around names and cells. Its index, `line`, contains the line numbers.

    Raises:
        InputError: If the file is missing, too large or not a table, a line has too many cells or an unclosed
            quotation, or the names of two columns differ only in case.
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
        body = list(_bounded(rows, len(names)))
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from None
    named = [position for position, name in enumerate(names) if name]
    index = pd.Index([number for number, _ in body], name="line", dtype=int)
    cells = [[row[position] for position in named] for _, row in body]
    return pd.DataFrame(cells, index=index, columns=[names[position] for position in named], dtype=object)


def rows_of(table: pd.DataFrame) -> Iterator[tuple[int, dict[str, str]]]:
    """Iterate over the rows of a table.

    Args:
        table: A table from `read_table`.

    Yields:
        The line number and the cells by column.
    """
    names = [str(name) for name in table.columns]
    for line, cells in zip(table.index, table.to_numpy(dtype=object).tolist(), strict=True):
        yield int(line), dict(zip(names, cells, strict=True))


def column(file: Path, table: pd.DataFrame, name: str, option: str = "") -> str:
    """Find a column, ignoring case.

    Args:
        file: The file of the table, for the error message.
        table: The table.
        name: The name of the column.
        option: The option with which the user can choose the column, for the error message.

    Returns:
        The name as spelled in the table.

    Raises:
        InputError: If there is no such column.
    """
    lower = {str(each).lower(): str(each) for each in table.columns}
    if name.lower() not in lower:
        hint = did_you_mean(name, list(lower.values()))
        choice = f"; choose it with PATH:{option}=COLUMN" if option else ""
        raise InputError(f"{file}: has no column '{name}'; {hint}{choice}")
    return lower[name.lower()]


def _text(file: Path) -> str:
    """The content of a text file. For other files, raises ValueError with the file type and advice."""
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
        what = f"line {line} contains the byte {raw[error.start]:#x}, which is not UTF-8 (Latin-1?)"
        raise ValueError(f"{what}; save the table in UTF-8 (Excel: 'CSV UTF-8')") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not blank; only line feeds and carriage returns end a line."""
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
    """Whether quotation marks enclose a whole cell, as written by other programs."""
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
    """Raise ValueError if the header line has another separator."""
    if header.lower().startswith("sep="):
        raise ValueError(f"begins with '{header[:6]}', a note for Excel; save it as TSV, separated by tabs")
    if mark in header:
        return
    for other, name in _SEPARATORS.items():
        if other in header.strip():
            remedy = "name it .csv" if other == "," else "name it .tsv" if other == "\t" else "save it as TSV"
            raise ValueError(f"its columns are separated by {name}, not by {_SEPARATORS[mark]}; {remedy}")


def _check_names(names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"has {len(names)} columns; a table has at most {MOST_COLUMNS}")
    by_lower: dict[str, str] = {}
    for name in filter(None, names):
        if (other := by_lower.get(name.lower())) is not None:
            both = f"two columns '{name}'" if other == name else f"the columns '{other}' and '{name}'"
            raise ValueError(f"has {both}; keep or rename one")
        by_lower[name.lower()] = name


def _bounded(rows: Iterator[Row], width: int) -> Iterator[Row]:
    """Yield rows padded to the length of the header. Raises ValueError for a longer row, or for too many rows."""
    most = min(MOST_ROWS, MOST_CELLS // width)
    for count, (number, cells) in enumerate((row for row in rows if any(row[1])), start=1):
        if count > most:
            raise ValueError(f"has more than {most} rows")
        if any(cells[width:]):
            names = "; from R, write it with row.names=FALSE" if len(cells) == width + 1 else ""
            raise ValueError(f"line {number} has {len(cells)} cells, but the header has {width} columns{names}")
        yield number, cells[:width] + [""] * (width - len(cells))
