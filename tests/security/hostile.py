"""Files that a stranger may hand over: few bytes that decode to many, links, FIFOs, structures that nobody writes."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

MIB = 1 << 20


def dictionary_bomb(file: Path, rows: int = 52_000, length: int = 1_000_000) -> None:
    """One long text in a dictionary page, and a page that names it in every row: 52 GB of a few hundred bytes."""
    words = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(rows, dtype=np.int32)), pyarrow.array(["x" * length])
    )
    _write(pyarrow.table({"participant_id": words}), file, use_dictionary=True)


def prefix_bomb(file: Path, rows: int = 12_800, length: int = 400_000) -> None:
    """Texts that are told as "like the one before": 5 GB."""
    part = pyarrow.table({"participant_id": pyarrow.array(["x" * length] * 16)})
    with pyarrow.parquet.ParquetWriter(
        file, part.schema, compression="zstd", use_dictionary=False, store_schema=False, data_page_size=1 << 30,
        column_encoding={"participant_id": "DELTA_BYTE_ARRAY"},
    ) as writer:  # fmt: skip
        for _ in range(rows // 16):
            writer.write_table(part)


def many_lists(file: Path, values: int = 30_000_000) -> None:
    """A row that holds a list of lists of millions of numbers."""
    numbers = pyarrow.array(np.zeros(values, dtype=np.int32))
    inner = pyarrow.ListArray.from_arrays(pyarrow.array(np.arange(0, values + 1, 1000, dtype=np.int32)), numbers)
    outer = pyarrow.ListArray.from_arrays(pyarrow.array([0, len(inner)], pyarrow.int32()), inner)
    _write(pyarrow.table({"ap.standard": outer}), file, use_dictionary=True)


def deep_lists(file: Path, depth: int = 400) -> None:
    """Lists within lists."""
    kind: pyarrow.DataType = pyarrow.float64()
    for _ in range(depth):
        kind = pyarrow.list_(kind)
    _write(pyarrow.table({"ap.standard": pyarrow.array([None], kind)}), file)


def struct_columns(file: Path, table: pyarrow.Table) -> None:
    """A column that is a structure; its leaf has the name that a column would have."""
    nested = pyarrow.StructArray.from_arrays([pyarrow.array(np.zeros(table.num_rows))], ["standard"])
    _write(table.append_column("ap", nested), file)


def _write(table: pyarrow.Table, file: Path, use_dictionary: bool = False) -> None:
    pyarrow.parquet.write_table(
        table, file, compression="zstd", use_dictionary=use_dictionary, store_schema=False, write_statistics=False
    )


def picture(file: Path, members: Mapping[str, tuple[str, tuple[int, ...]]], titles: str = "{}") -> None:
    """Pictures of zeros, of any type and shape, each written without ever being held."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, (kind, shape) in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stored:
                stored.write(npy_header(kind, shape))
                left = int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
                while left > 0:
                    stored.write(bytes(min(left, MIB)))
                    left -= MIB
        plain = io.BytesIO()
        np.save(plain, np.array(titles))
        archive.writestr("titles.npy", plain.getvalue())


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def many_keys(keys: int = 3_000_000) -> str:
    """A JSON object of so many keys that nobody asked for, in few bytes."""
    return "{" + ",".join(f'"{number:x}":1' for number in range(keys)) + "}"


def safetensors(header: Any, size: int = 0) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(size)


def larger_page(file: Path, table: pyarrow.Table, claimed: int = 2**31 - 1) -> None:
    """A file whose last page claims to unpack to gigabytes, while the footer tells of the bytes that there are."""
    pyarrow.parquet.write_table(
        table, file, compression="zstd", use_dictionary=False, write_page_checksum=True, store_schema=False
    )
    raw = bytearray(file.read_bytes())
    column = pyarrow.parquet.read_metadata(file).row_group(0).column(table.num_columns - 1)
    start = place = column.data_page_offset
    fields = []
    for _ in range(4):  # type, size, size on the disk, checksum: each a byte of its field, and a number
        begin = place = place + 1
        while raw[place] & 0x80:
            place += 1
        place += 1
        fields.append(bytes(raw[begin:place]))
    kind, size, packed, checksum = fields
    room = len(size) + len(packed) + 1 + len(checksum)
    longer = _varint(2 * claimed)
    padded = _varint(_number(packed), room - len(longer))
    header = b"\x15" + kind + b"\x15" + longer + b"\x15" + padded
    assert len(header) == place - start and raw[place] & 0x0F == 0x0C
    raw[start:place] = header
    raw[place] = 0x2C  # the structure that follows is field 5, now two after field 3
    file.write_bytes(raw)


def _number(varint: bytes) -> int:
    return sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(varint))


def _varint(number: int, length: int = 0) -> bytes:
    found = []
    while number or not found or len(found) < length:
        found.append((number & 0x7F) | 0x80)
        number >>= 7
    found[-1] &= 0x7F
    return bytes(found)


def linked(file: Path, target: Path | str) -> None:
    """A link in the place of a file."""
    file.unlink(missing_ok=True)
    file.symlink_to(target)


def fifo(file: Path) -> None:
    """A pipe in the place of a file: who opens it waits for a writer that never comes."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)
