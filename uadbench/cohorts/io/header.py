"""Reading and validation of NIfTI headers before voxels are read.

nibabel alone is not sufficient, because it opens a file of one kilobyte whose header claims 2.7e13 voxels without an
error.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from uadbench.cohorts.findings import refuse
from uadbench.cohorts.io.file_kinds import FIRST_BYTES, inflated, mistaken
from uadbench.cohorts.io.forms import Forms, read_forms
from uadbench.types import Affine

LARGEST = 100_000_000
"""The largest number of voxels. A brain at 0.5 mm has 70 million; a larger number indicates a corrupted header."""

MOST_BYTES_BEFORE = 64 << 20
"""The largest number of bytes before the first voxel: the header and its extensions, which are skipped."""

MOST_BYTES_AFTER = 1 << 20
"""The largest number of bytes after the last voxel, which are padding."""

MOST_INFLATED = 1032
"""The largest number of bytes that a byte of deflate data decompresses to: 258 bytes from two bits (RFC 1951)."""

REMAKE = "the header is corrupted; create the file again"
WHOLE = "give a complete .nii.gz file"
PAIR = "is one file of a pair of .hdr and .img"

_quiet = logging.getLogger("uadbench.nibabel")  # nibabel logs its corrections, which users need not see
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class Header:
    """The location of the voxels in the file and in space.

    Attributes:
        shape: The shape: three axes, possibly followed by axes of length 1.
        dtype: The data type of the stored numbers.
        offset: The number of bytes before the first voxel.
        slope: The factor of stored numbers: a voxel is slope * stored + intercept.
        intercept: The constant that is added.
        forms: The affines (sform and qform) with their codes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    forms: Forms

    @property
    def affine(self) -> Affine:
        """The (4, 4) matrix from voxel indices in the file to RAS millimetres."""
        return self.forms.affine

    @property
    def size(self) -> int:
        """The number of bytes from the beginning of the uncompressed file to the end of its last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """Read and validate the header of a NIfTI file; no memory is allocated for its voxels.

    Args:
        path: A .nii or .nii.gz file.

    Returns:
        The header.

    Raises:
        ScanError: If the file is missing, not NIfTI, not 3D, has no position in space (see `io.forms`), or claims more
            voxels than it can contain; the message names the file, the value and what to do.
    """
    on_disk = _size_on_disk(path)
    stored = _stored(path, _first_bytes(path))
    header = _mended(path, stored)
    shape = tuple(int(n) for n in header.get_data_shape())
    _check_shape(path, shape)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        refuse("unreadable", path, f"voxels of type {dtype}", "give real numbers of at most 64 bits")
    slope, intercept = header["scl_slope"].item(), header["scl_inter"].item()
    if slope == 0 or math.isnan(slope):  # not set: 0 in the standard, NaN in files from nibabel
        slope, intercept = 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(intercept):
        refuse("unreadable", path, f"its voxels have slope {slope:g} and intercept {intercept:g}", REMAKE)
    checked = Header(shape, dtype, int(header["vox_offset"].item()), slope, intercept, read_forms(path, stored))
    _check_size(path, checked, on_disk)
    return checked


def is_packed(path: Path) -> bool:
    """Whether a file is compressed, according to its name.

    Args:
        path: The file.

    Returns:
        True if its name ends with .gz.
    """
    return path.suffix.lower() == ".gz"


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks.

    Args:
        error: The error.

    Returns:
        The message; the name of the error's type if it has no message.
    """
    return " ".join(str(error).split()) or type(error).__name__


def _size_on_disk(path: Path) -> int:
    """The size of a file in bytes. Refuses a path that is not a file, or a name without a NIfTI suffix."""
    try:
        if path.is_file():
            size = path.stat().st_size
        elif path.is_dir():
            refuse("missing", path, "a folder, not a file", "give a .nii or .nii.gz file")
        else:
            _refuse_missing(path)
    except OSError as error:  # the name is too long, or the folder is not accessible
        refuse("missing", path, f"cannot be accessed ({error.strerror})", "give a .nii or .nii.gz file")
    if path.suffix.lower() in {".hdr", ".img"}:
        advice = "convert both to one .nii.gz; if they are Analyze 7.5, without left and right, convert the original"
        refuse("unreadable", path, PAIR, advice)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        refuse("unreadable", path, "is not NIfTI according to its name", "convert it to .nii.gz")
    return size


def _refuse_missing(path: Path) -> NoReturn:
    """Raise ScanError for a missing file or a broken link. May raise OSError."""
    link = next((part for part in (path, *path.parents) if part.is_symlink() and not part.exists()), None)
    if link is None:
        refuse("missing", path, "no such file", "give a .nii or .nii.gz file")
    target = link.readlink()
    if "annex/objects" in target.as_posix():
        refuse("missing", path, "its content was not fetched (git-annex)", "run 'git annex get' for it")
    refuse("missing", path, f"its link leads to {target}, which is missing", "mount or restore it, or correct the link")


def _first_bytes(path: Path) -> bytes:
    """The first bytes of the uncompressed file. Refuses a file whose content does not match its name."""
    try:
        with path.open("rb") as handle:
            start = handle.read(FIRST_BYTES)
    except OSError as error:
        refuse("unreadable", path, f"cannot be read ({one_line(error)})", WHOLE)
    if not start:
        refuse("unreadable", path, "is empty", WHOLE)
    if wrong := mistaken(path, start):
        refuse(wrong.kind, path, wrong.value, wrong.advice)
    if is_packed(path) and not (start := inflated(start)):
        refuse("unreadable", path, "not a readable NIfTI file (it cannot be decompressed)", WHOLE)
    return start


def _stored(path: Path, start: bytes) -> Any:
    """The fields of the header as stored."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    kind: Any = Nifti2Header if Nifti2Header.sizeof_hdr in sizes else Nifti1Header
    if len(start) < kind.sizeof_hdr:
        refuse("unreadable", path, "not a readable NIfTI file (its header is truncated)", WHOLE)
    header = kind(start[: kind.sizeof_hdr], check=False)
    magic = header["magic"].item()
    if magic == kind.pair_magic:
        refuse("unreadable", path, PAIR, "convert both to one .nii.gz")
    if magic != kind.single_magic:
        refuse("unreadable", path, "not a readable NIfTI file (it has no NIfTI header)", WHOLE)
    return header


def _mended(path: Path, stored: Any) -> Any:
    """The header with the harmless corrections of nibabel."""
    header = stored.copy()
    begin = header["vox_offset"].item()
    if not header.single_vox_offset <= begin <= MOST_BYTES_BEFORE:  # nor is NaN
        refuse("unreadable", path, f"its voxels begin at byte {begin:g}", REMAKE)
    try:
        header.check_fix(_quiet)
        header.get_data_shape()
    except Exception as error:  # nibabel has its own exceptions, one per field
        refuse("unreadable", path, f"corrupted NIfTI header ({one_line(error)})", "create the file again")
    return header


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    text = " x ".join(map(str, shape)) or "none"
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        refuse("not 3D", path, f"is {len(shape)}D, shape {text}", "give one 3D volume (for frames: their mean)")
    if min(shape) < 1 or math.prod(shape) > LARGEST:
        refuse("unreadable", path, f"its header claims {text} voxels", REMAKE)


def _check_size(path: Path, header: Header, on_disk: int) -> None:
    """Refuse a header whose claimed size is much larger or much smaller than the file (`on_disk` bytes) allows."""
    most = on_disk * MOST_INFLATED if is_packed(path) else on_disk
    if header.size > most:
        value = f"corrupted or truncated (its header claims {header.size} bytes, but the file has {on_disk})"
        refuse("truncated", path, value, "copy or create the file again")
    if is_packed(path) and on_disk > header.size + header.size // 128 + MOST_BYTES_AFTER:
        refuse("unreadable", path, f"has {on_disk} bytes, but its header claims {header.size}", REMAKE)
