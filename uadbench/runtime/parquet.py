"""Safe reading of tables from untrusted Parquet files: sizes are checked page by page before anything is decoded.

pyarrow alone is not safe, because it has no size limit: it decompresses a file of 228 kB to 400 MB.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from uadbench.runtime.text import steers

if TYPE_CHECKING:
    import pyarrow

MOST_CELLS, LARGEST = 20_000_000, 256 << 20
"""The largest number of cells of a table, and of uncompressed bytes. Protocol quick has 2 million cells."""
MOST_COLUMNS, MOST_GROUPS, MOST_PAGES, LONGEST_TEXT = 2000, 1000, 100_000, 1000
_LARGEST_STRING = 8 << 20
"""The largest size, in bytes, of a string in the footer, which contains the schemas of Arrow and pandas."""

_NUMBERS = {"DOUBLE", "FLOAT", "INT32", "INT64"}
_TEXTS = {"BYTE_ARRAY", "INT32"}
"""A column without any value is written as INT32."""
_ENCODINGS = {0, 2, 3, 8, 9}
"""Plain, dictionary, run-length, and byte-stream split (plain with reordered bytes). Other encodings refer to preceding
values and can decompress to any size."""


def read_flat(raw: bytes, texts: Collection[str]) -> pyarrow.Table:
    """Decode a table of flat columns with numbers or text.

    Args:
        raw: The content of the file.
        texts: The names of columns that may contain text; all others must contain numbers.

    Returns:
        The table, with the metadata of the file.

    Raises:
        ValueError: If it is not such a table, or would take too much memory.
        pyarrow.ArrowException: If it is not a Parquet file.
    """
    file = _opened(raw, ())
    _require_shape(file, texts)
    if file.metadata.num_rows == 0:
        return file.schema_arrow.empty_table()
    _require_pages(raw, file.metadata)
    names = [name for name in file.schema_arrow.names if name in texts]
    # in a dictionary, a text is stored once for any number of rows
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
    """Raise ValueError if the schema or the numbers of rows and columns are not those of a table of scores."""
    metadata, schema = file.metadata, file.schema
    if metadata.num_rows * metadata.num_columns > MOST_CELLS or metadata.num_columns > MOST_COLUMNS:
        raise ValueError(f"it claims {metadata.num_rows} rows of {metadata.num_columns} columns")
    if metadata.num_row_groups > MOST_GROUPS:
        raise ValueError(f"it claims {metadata.num_row_groups} groups of rows")
    fields = list(file.schema_arrow)
    for field in fields:
        if len(field.name) > 100 or steers(field.name):
            raise ValueError(f"a column is called {field.name[:80]!r}")
        if not _is_known(field.type, field.name in texts):
            raise ValueError(f"column {field.name} has the type {str(field.type)[:80]}")
    if len({field.name for field in fields}) != metadata.num_columns or len(fields) != metadata.num_columns:
        raise ValueError("it has two columns with the same name")
    for index, field in enumerate(fields):
        column = schema.column(index)  # the stored type; the field has the type that Arrow converts it to
        if column.path != field.name or column.max_repetition_level > 0 or column.max_definition_level > 1:
            raise ValueError(f"column {field.name} is nested")
        if column.physical_type not in (_TEXTS if field.name in texts else _NUMBERS):
            raise ValueError(f"column {field.name} has the type {column.physical_type}")


def _is_known(kind: Any, text: bool) -> bool:
    """Whether a column of text, or of numbers, may have this type."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    allowed = (types.is_string, types.is_large_string) if text else (types.is_floating, types.is_integer)
    return any(fits(kind) for fits in (*allowed, types.is_null))


def _require_pages(raw: bytes, metadata: Any) -> None:
    """Raise ValueError unless the pages contain one value per row and their uncompressed size is within the limit.

    The sizes in the footer are not used, because they may be wrong; memory is allocated by the sizes in the pages.
    """
    rows = size = pages = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows <= 0:
            raise ValueError(f"a group claims {group.num_rows} rows")
        rows += group.num_rows
        for number in range(metadata.num_columns):
            unpacked, number_of_pages = _pages(raw, group.column(number), group.num_rows)
            size, pages = size + unpacked, pages + number_of_pages
            if size > LARGEST or pages > MOST_PAGES:
                raise ValueError(f"it decompresses to {size} bytes or more, in {pages} pages")
    if rows != metadata.num_rows:
        raise ValueError(f"it claims {metadata.num_rows} rows, and has {rows}")


def _pages(raw: bytes, column: Any, rows: int) -> tuple[int, int]:
    """The uncompressed size of the pages of a column, in bytes, and the number of pages."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    if not 0 < start <= end <= len(raw) or column.file_path:
        raise ValueError("a column lies outside the file")
    values = size = pages = 0
    while start < end and pages <= MOST_PAGES:
        try:
            header, start = _struct(raw, start, 0)
            unpacked, packed = header[2], header[3]
            body = header[next(field for field in (5, 7, 8) if field in header)]
            count, encoding = body[1], body[4 if 8 in header else 2]
        except (IndexError, KeyError, TypeError, StopIteration):
            raise ValueError("the header of a page is corrupted") from None
        if unpacked < 0 or packed < 0 or count < 0 or encoding not in _ENCODINGS:
            raise ValueError(f"a page has an unsupported encoding ({encoding})")
        if 7 in header and count > unpacked:
            raise ValueError(f"a dictionary claims {count} values in {unpacked} bytes")
        values += 0 if 7 in header else count
        start, size, pages = start + packed, size + unpacked, pages + 1
    if start != end or values != rows:
        raise ValueError(f"a column of {rows} rows has {values} values")
    return size, pages


def _struct(raw: bytes, position: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure in Thrift's compact protocol, by their numbers, and the position after it.

    The format is described in https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md; page
    headers contain no lists.
    """
    fields: dict[int, Any] = {}
    number = 0
    while (head := raw[position]) != 0 and depth < 4:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _integer(raw, position)
        fields[number], position = _value(raw, position, head & 15, depth)
    return fields, position + 1


def _value(raw: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, position
    if kind == 3:
        return raw[position], position + 1
    if kind in (4, 5, 6):
        return _integer(raw, position)
    if kind == 7:
        return None, position + 8
    if kind == 8:
        length, position = _varint(raw, position)
        return None, position + length
    if kind == 12:
        return _struct(raw, position, depth + 1)
    raise KeyError(kind)


def _integer(raw: bytes, position: int) -> tuple[int, int]:
    """A signed number: 0, -1, 1, -2, ... are encoded as 0, 1, 2, 3, ..."""
    number, position = _varint(raw, position)
    return (number >> 1) ^ -(number & 1), position


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    number = 0
    for index in range(10):
        byte = raw[position + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, position + index + 1
    raise KeyError("a number of more than 64 bits")


def _text(name: str, column: Any) -> Any:
    """Convert a dictionary-encoded column to text. Raises ValueError if one text, or the whole column, is too long."""
    import pyarrow
    from pyarrow import compute

    if not pyarrow.types.is_dictionary(column.type):  # all values are missing
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
    plain.validate(full=True)  # otherwise invalid UTF-8 causes an error only when it is used
    return plain
