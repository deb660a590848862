"""What a file that is named like NIfTI really is, by its first bytes."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import NamedTuple

FIRST_BYTES = 1 << 16
"""So much of a file is read to learn what it is."""

INFLATED = 1024
"""So much of a gzip file is inflated for that."""

GZIP = b"\x1f\x8b"
PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEADER_SIZES = {348: (344, (b"n+1\0", b"ni1\0")), 540: (4, (b"n+2\0", b"ni2\0"))}
"""Of NIfTI-1 and NIfTI-2 the bytes of a header, and where its magic stands."""


class Kind(NamedTuple):
    """What a file is, and what to do with it."""

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
    """What is wrong with a file by its first bytes; None where they may be NIfTI, packed as the name says."""
    packed = path.suffix.lower() == ".gz"
    if start.startswith(GZIP):
        inside = inflated(start)
        if inside.startswith(GZIP):
            return Kind("unreadable", "is gzip inside gzip", "unpack it once")
        if found := _recognised(inside):
            return found._replace(value=f"is gzip, and its content {found.value}")
        return None if packed else Kind("unreadable", "is gzip", f"name it {path.name}.gz")
    if packed and is_nifti(start):
        return Kind("unreadable", "is uncompressed", f"name it {path.name[: -len('.gz')]}")
    return _recognised(start)


def is_nifti(start: bytes) -> bool:
    """Whether a (inflated) file begins with a NIfTI header."""
    place = HEADER_SIZES.get(_header_size(start))
    return place is not None and start[place[0] : place[0] + 4] in place[1]


def inflated(start: bytes) -> bytes:
    """The first bytes inside a gzip file; none where it is damaged."""
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(start)).read(INFLATED)
    except (OSError, EOFError, ValueError, zlib.error):
        return b""


def _recognised(start: bytes) -> Kind | None:
    if is_nifti(start):
        return None
    for place, signature, kind in SIGNATURES:
        if start[place : place + len(signature)] == signature:
            return kind
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return Kind("unreadable", "is a web page", "download it again (a login or error page was saved)")
    if _header_size(start) == 348 and start[344:348] == bytes(4):
        value = "is Analyze 7.5, which does not say which side is left"
        return Kind("unreadable", value, "convert the original again to .nii.gz")
    return None


def _header_size(start: bytes) -> int:
    """The size that a header gives itself, in either byte order; 0 where that is no size of NIfTI."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & HEADER_SIZES.keys()
    return sizes.pop() if sizes else 0
