"""Recognition of the actual type of files named like NIfTI files, from their first bytes."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import NamedTuple

FIRST_BYTES = 1 << 16
"""The number of bytes that are read to recognise a file."""

INFLATED = 1024
"""The number of bytes that are decompressed to recognise a gzip file."""

GZIP = b"\x1f\x8b"
PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEADER_SIZES = {348: (344, (b"n+1\0", b"ni1\0")), 540: (4, (b"n+2\0", b"ni2\0"))}
"""The header sizes of NIfTI-1 and NIfTI-2, in bytes, with the position and the values of the magic string."""


class Kind(NamedTuple):
    """The type of a file that is not valid NIfTI.

    Attributes:
        kind: The kind of finding.
        value: The type, as a phrase.
        advice: What to do.
    """

    kind: str
    value: str
    advice: str


UNPACK = "unpack it"
CONVERT = "convert it to .nii.gz"
SIGNATURES = (
    (0, b"version https://git-lfs", Kind("missing", "its content was not fetched (Git LFS)", "run 'git lfs pull'")),
    (0, b"/annex/objects/", Kind("missing", "its content was not fetched (git-annex)", "run 'git annex get' for it")),
    (0, b"PK\x03\x04", Kind("unreadable", "is a zip archive", UNPACK)),
    (0, b"BZh", Kind("unreadable", "is packed with bzip2", UNPACK)),
    (0, b"\xfd7zXZ\0", Kind("unreadable", "is packed with xz", UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Kind("unreadable", "is packed with zstd", UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("unreadable", "is a 7-Zip archive", UNPACK)),
    (257, b"ustar", Kind("unreadable", "is a tar archive", UNPACK)),
    (128, b"DICM", Kind("unreadable", "is a DICOM file", "convert the series to .nii.gz (e.g. dcm2niix)")),
    (0, b"\x89HDF\r\n\x1a\n", Kind("unreadable", "is HDF5, as MINC 2 files are", CONVERT)),
    (0, b"CDF", Kind("unreadable", "is netCDF, as MINC 1 files are", CONVERT)),
    (0, b"NRRD", Kind("unreadable", "is an NRRD file", CONVERT)),
)


def mistaken(path: Path, start: bytes) -> Kind | None:
    """Recognise a file that is not NIfTI, or not compressed as its name says.

    Args:
        path: The file.
        start: Its first bytes.

    Returns:
        The type of the file; None if it may be NIfTI.
    """
    packed = path.suffix.lower() == ".gz"
    if start.startswith(GZIP):
        inside = inflated(start)
        if inside.startswith(GZIP):
            return Kind("unreadable", "is gzip inside gzip", "unpack it once")
        if kind := _recognised(inside):
            return kind._replace(value=f"is gzip, and its content {kind.value}")
        return None if packed else Kind("unreadable", "is gzip", f"name it {path.name}.gz")
    if packed and is_nifti(start):
        return Kind("unreadable", "is uncompressed", f"name it {path.name[: -len('.gz')]}")
    return _recognised(start)


def is_nifti(start: bytes) -> bool:
    """Whether a file begins with a NIfTI header.

    Args:
        start: The first bytes of the decompressed file.

    Returns:
        True if it does.
    """
    magic = HEADER_SIZES.get(_header_size(start))
    return magic is not None and start[magic[0] : magic[0] + 4] in magic[1]


def inflated(start: bytes) -> bytes:
    """Decompress the first bytes of a gzip file.

    Args:
        start: The first bytes of the file.

    Returns:
        The decompressed bytes; empty if the file is corrupted.
    """
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(start)).read(INFLATED)
    except (OSError, EOFError, ValueError, zlib.error):
        return b""


def _recognised(start: bytes) -> Kind | None:
    if is_nifti(start):
        return None
    for position, signature, kind in SIGNATURES:
        if start[position : position + len(signature)] == signature:
            return kind
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return Kind("unreadable", "is a web page", "download it again (a login or error page was saved)")
    if _header_size(start) == 348 and start[344:348] == bytes(4):
        value = "is Analyze 7.5, which does not define left and right"
        return Kind("unreadable", value, "convert the original again to .nii.gz")
    return None


def _header_size(start: bytes) -> int:
    """The header size in the first field, in either byte order; 0 if it is not that of NIfTI."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & HEADER_SIZES.keys()
    return sizes.pop() if sizes else 0
