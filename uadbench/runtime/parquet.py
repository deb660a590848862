"""Tables in Parquet files of anybody: their size is known, page by page, before anything is decoded.

Written here because pyarrow has no limit: it unpacks a file of 228 kB to 400 MB.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from uadbench.runtime.text import steers

if TYPE_CHECKING:
    import pyarrow

MOST_CELLS, LARGEST = 20_000_000, 256 << 20
"""Cells of a table, and bytes before compression. Protocol quick has 2 million cells."""
MOST_COLUMNS, MOST_GROUPS, MOST_PAGES, LONGEST_TEXT = 2000, 1000, 100_000, 1000
_LARGEST_STRING = 8 << 20
"""Bytes of one string in the footer, which holds the schema of Arrow and that of pandas."""

_NUMBERS = {"DOUBLE", "FLOAT", "INT32", "INT64"}
_TEXTS = {"BYTE_ARRAY", "INT32"}
"""INT32 is also what a column without any value is written as."""
_ENCODINGS = {0, 2, 3, 8, 9}
"""Plain, dictionary, run lengths, byte-stream split (the bytes of plain in another order). Others tell values by those
before them, and unpack to any size."""


def read_flat(raw: bytes, texts: Collection[str]) -> pyarrow.Table:
    """Decode a table of flat columns: numbers, and texts by these names.

    Args:
        raw: The file.
        texts: Names of the columns that hold text, where they are there.

    Returns:
        The table, with the file's own metadata.

    Raises:
        ValueError: It is no such table, or would take too much memory.
        pyarrow.ArrowException: It is no Parquet file.
    """
    file = _opened(raw, ())
    _require_shape(file, texts)
    if file.metadata.num_rows == 0:
        return file.schema_arrow.empty_table()
    _require_pages(raw, file.metadata)
    names = [name for name in file.schema_arrow.names if name in texts]
    # as a dictionary a text is held once, however many rows name it
    table = _opened(raw, names, file.metadata).read(use_threads=False, use_pandas_metadata=False)
    for name in names:
        table = table.set_column(table.column_names.index(name), name, _text(name, table[name]))
    return table


def _opened(raw: bytes, dictionaries: Sequence[str], known: Any = None) -> Any:
    import pyarrow
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(
        pyarrow.BufferReader(raw),
        metadata=known,
        read_dictionary=list(dictionaries),
        thrift_string_size_limit=_LARGEST_STRING,
        thrift_container_size_limit=2 * MOST_COLUMNS,
    )


def _require_shape(file: Any, texts: Collection[str]) -> None:
    """Raise ValueError for what is no table of scores by its schema and its numbers of rows and columns."""
    told, schema = file.metadata, file.schema
    if told.num_rows * told.num_columns > MOST_CELLS or told.num_columns > MOST_COLUMNS:
        raise ValueError(f"it claims {told.num_rows} rows of {told.num_columns} columns")
    if told.num_row_groups > MOST_GROUPS:
        raise ValueError(f"it claims {told.num_row_groups} groups of rows")
    fields = list(file.schema_arrow)
    for field in fields:
        if len(field.name) > 100 or steers(field.name):
            raise ValueError(f"a column is called {field.name[:80]!r}")
        if not _is_known(field.type, field.name in texts):
            raise ValueError(f"column {field.name} holds {str(field.type)[:80]}")
    if len({field.name for field in fields}) != told.num_columns or len(fields) != told.num_columns:
        raise ValueError("it has two columns of one name")
    for index, field in enumerate(fields):
        column = schema.column(index)  # what the file holds; the field is what it says to make of it
        if column.path != field.name or column.max_repetition_level > 0 or column.max_definition_level > 1:
            raise ValueError(f"column {field.name} is nested")
        if column.physical_type not in (_TEXTS if field.name in texts else _NUMBERS):
            raise ValueError(f"column {field.name} holds {column.physical_type}")


def _is_known(kind: Any, text: bool) -> bool:
    """Whether a column of texts, or of numbers, may be of this type."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    wanted = (types.is_string, types.is_large_string) if text else (types.is_floating, types.is_integer)
    return any(fits(kind) for fits in (*wanted, types.is_null))


def _require_pages(raw: bytes, told: Any) -> None:
    """Raise ValueError unless the pages hold as many values as there are rows, and unpack to few bytes.

    The footer tells of sizes, too, but nothing holds it to the truth; what is allocated is what the pages claim.
    """
    rows = size = pages = 0
    for index in range(told.num_row_groups):
        group = told.row_group(index)
        if group.num_rows <= 0:
            raise ValueError(f"a group claims {group.num_rows} rows")
        rows += group.num_rows
        for number in range(told.num_columns):
            unpacked, found = _pages(raw, group.column(number), group.num_rows)
            size, pages = size + unpacked, pages + found
            if size > LARGEST or pages > MOST_PAGES:
                raise ValueError(f"it unpacks to {size} bytes or more, in {pages} pages")
    if rows != told.num_rows:
        raise ValueError(f"it claims {told.num_rows} rows, and has {rows}")


def _pages(raw: bytes, column: Any, rows: int) -> tuple[int, int]:
    """The bytes that the pages of a column unpack to, and how many pages it has."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    if not 0 < start <= end <= len(raw) or column.file_path:
        raise ValueError("a column does not lie in the file")
    values = size = pages = 0
    while start < end and pages <= MOST_PAGES:
        try:
            header, start = _struct(raw, start, 0)
            unpacked, packed = header[2], header[3]
            body = header[next(field for field in (5, 7, 8) if field in header)]
            count, encoding = body[1], body[4 if 8 in header else 2]
        except (IndexError, KeyError, TypeError, StopIteration):
            raise ValueError("the header of a page is damaged") from None
        if unpacked < 0 or packed < 0 or count < 0 or encoding not in _ENCODINGS:
            raise ValueError(f"a page is encoded in another way ({encoding})")
        if 7 in header and count > unpacked:
            raise ValueError(f"a dictionary claims {count} values in {unpacked} bytes")
        values += 0 if 7 in header else count
        start, size, pages = start + packed, size + unpacked, pages + 1
    if start != end or values != rows:
        raise ValueError(f"a column of {rows} rows has {values} values")
    return size, pages


def _struct(raw: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """A structure in Thrift's compact protocol, by the numbers of its fields, and where it ends.

    As https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md describes it; headers of pages
    have no lists.
    """
    found: dict[int, Any] = {}
    number = 0
    while (head := raw[place]) != 0 and depth < 4:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = _integer(raw, place)
        found[number], place = _value(raw, place, head & 15, depth)
    return found, place + 1


def _value(raw: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, place
    if kind == 3:
        return raw[place], place + 1
    if kind in (4, 5, 6):
        return _integer(raw, place)
    if kind == 7:
        return None, place + 8
    if kind == 8:
        length, place = _varint(raw, place)
        return None, place + length
    if kind == 12:
        return _struct(raw, place, depth + 1)
    raise KeyError(kind)


def _integer(raw: bytes, place: int) -> tuple[int, int]:
    """A signed number: 0, -1, 1, -2 ... are told as 0, 1, 2, 3 ..."""
    number, place = _varint(raw, place)
    return (number >> 1) ^ -(number & 1), place


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    number = 0
    for index in range(10):
        byte = raw[place + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, place + index + 1
    raise KeyError("a number of more than 64 bits")


def _text(name: str, column: Any) -> Any:
    """A column of texts from one that holds each text once. Raises ValueError for long ones, and many in all."""
    import pyarrow
    from pyarrow import compute

    if not pyarrow.types.is_dictionary(column.type):  # nothing but missing values
        return column
    size = 0
    for chunk in column.chunks:
        lengths = compute.binary_length(chunk.dictionary)
        if (compute.max(lengths).as_py() or 0) > LONGEST_TEXT:
            raise ValueError(f"a text in column {name} has more than {LONGEST_TEXT} bytes")
        size += compute.sum(lengths.take(chunk.indices)).as_py() or 0
        if size > LARGEST:
            raise ValueError(f"the texts in column {name} have more than {LARGEST} bytes")
    plain = column.cast(column.type.value_type)
    plain.validate(full=True)  # else what is no UTF-8 is found wherever it is used
    return plain
