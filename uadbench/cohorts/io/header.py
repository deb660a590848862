"""What a NIfTI file says of its voxels: read from its first bytes, and believed only where it can be true.

Written here because nibabel opens a file of a kilobyte whose header claims 2.7e13 voxels, and says nothing.
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
"""Voxels. A brain at 0.5 mm has 70 million; more are a damaged header."""

MOST_BYTES_BEFORE = 64 << 20
"""Before the first voxel: the header and its extensions, which are skipped."""

MOST_BYTES_AFTER = 1 << 20
"""After the last voxel: padding."""

MOST_INFLATED = 1032
"""Bytes that a byte of deflate becomes at most: 258 of them from two bits (RFC 1951)."""

REMAKE = "the header is damaged, make the file again"
WHOLE = "give a whole .nii.gz"
PAIR = "is half of a pair of .hdr and .img"

_quiet = logging.getLogger("uadbench.nibabel")  # nibabel logs what it mends; here a file is read, or refused in a line
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class Header:
    """Where the voxels lie in a file, and in space.

    Attributes:
        shape: Three axes, perhaps followed by axes of length 1.
        dtype, offset: Of the stored numbers, and the bytes before the first.
        slope, intercept: A voxel is slope * stored + intercept.
        forms: The affines that the file has, and what it says of them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    forms: Forms

    @property
    def affine(self) -> Affine:
        """(4, 4), from the axes of the file to RAS in millimetres."""
        return self.forms.affine

    @property
    def size(self) -> int:
        """Bytes from the begin of the (inflated) file to the end of its last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """The header of a .nii or .nii.gz file; nothing is allocated for its voxels.

    Raises:
        ScanError: For a file that is missing or no NIfTI, is not 3D, does not say where in space it lies (see
            `io.forms`), or claims voxels that it cannot hold; the message names the file, the value and what to do.
    """
    there = _size_on_disk(path)
    stored = _stored(path, _first_bytes(path))
    header = _mended(path, stored)
    shape = tuple(int(n) for n in header.get_data_shape())
    _check_shape(path, shape)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        refuse("unreadable", path, f"voxels of type {dtype}", "give real numbers of at most 64 bits")
    slope, intercept = header["scl_slope"].item(), header["scl_inter"].item()
    if slope == 0 or math.isnan(slope):  # not set: 0 says the standard, NaN writes nibabel
        slope, intercept = 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(intercept):
        refuse("unreadable", path, f"its voxels are scaled by {slope:g} and raised by {intercept:g}", REMAKE)
    found = Header(shape, dtype, int(header["vox_offset"].item()), slope, intercept, read_forms(path, stored))
    _check_size(path, found, there)
    return found


def is_packed(path: Path) -> bool:
    """Whether a file is a .gz."""
    return path.suffix.lower() == ".gz"


def one_line(error: BaseException) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _size_on_disk(path: Path) -> int:
    """In bytes. Refuses what is no file, or has not a name by which it is known as NIfTI."""
    try:
        if path.is_file():
            size = path.stat().st_size
        elif path.is_dir():
            refuse("missing", path, "a folder, not a file", "give a .nii or .nii.gz file")
        else:
            _refuse_missing(path)
    except OSError as error:  # a name that is too long, a folder that is closed
        refuse("missing", path, f"cannot be looked at ({error.strerror})", "give a .nii or .nii.gz file")
    if path.suffix.lower() in {".hdr", ".img"}:
        advice = "convert both to one .nii.gz, or, if they are Analyze 7.5, which lacks left and right, the original"
        refuse("unreadable", path, PAIR, advice)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        refuse("unreadable", path, "is not NIfTI by its name", "convert it to .nii.gz")
    return size


def _refuse_missing(path: Path) -> NoReturn:
    """Say whether a file was never there, or is a link that leads nowhere. Raises ScanError, or OSError."""
    link = next((place for place in (path, *path.parents) if place.is_symlink() and not place.exists()), None)
    if link is None:
        refuse("missing", path, "no such file", "give a .nii or .nii.gz file")
    target = link.readlink()
    if "annex/objects" in target.as_posix():
        refuse("missing", path, "its content was not fetched (git-annex)", "run 'git annex get' for it")
    refuse("missing", path, f"its link leads to {target}, which is missing", "mount or restore it, or mend the link")


def _first_bytes(path: Path) -> bytes:
    """Of the inflated file. Refuses one whose content is known to be something else than its name says."""
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
        refuse("unreadable", path, "not a readable NIfTI file (nothing can be inflated from it)", WHOLE)
    return start


def _stored(path: Path, start: bytes) -> Any:
    """The fields of the header as they are."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    long = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    kind: Any = Nifti2Header if Nifti2Header.sizeof_hdr in long else Nifti1Header
    if len(start) < kind.sizeof_hdr:
        refuse("unreadable", path, "not a readable NIfTI file (it ends in its header)", WHOLE)
    header = kind(start[: kind.sizeof_hdr], check=False)
    magic = header["magic"].item()
    if magic == kind.pair_magic:
        refuse("unreadable", path, PAIR, "convert both to one .nii.gz")
    if magic != kind.single_magic:
        refuse("unreadable", path, "not a readable NIfTI file (its header is not one)", WHOLE)
    return header


def _mended(path: Path, stored: Any) -> Any:
    """The header, mended by nibabel where that does no harm."""
    header = stored.copy()
    begin = header["vox_offset"].item()
    if not header.single_vox_offset <= begin <= MOST_BYTES_BEFORE:  # nor is NaN
        refuse("unreadable", path, f"its voxels begin at byte {begin:g}", REMAKE)
    try:
        header.check_fix(_quiet)
        header.get_data_shape()
    except Exception as error:  # nibabel has its own exceptions, one per field
        refuse("unreadable", path, f"damaged NIfTI header ({one_line(error)})", "make the file again")
    return header


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    text = " x ".join(map(str, shape)) or "none"
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        refuse("not 3D", path, f"is {len(shape)}D, shape {text}", "give one 3D volume (for frames: their mean)")
    if min(shape) < 1 or math.prod(shape) > LARGEST:
        refuse("unreadable", path, f"its header claims {text} voxels", REMAKE)


def _check_size(path: Path, header: Header, there: int) -> None:
    """Refuse a claim that so many bytes on the disk cannot hold, or would hold many times over."""
    most = there * MOST_INFLATED if is_packed(path) else there
    if header.size > most:
        value = f"damaged or cut short ({header.size} bytes are claimed, and the file has {there})"
        refuse("truncated", path, value, "copy or make the file again")
    if is_packed(path) and there > header.size + header.size // 128 + MOST_BYTES_AFTER:
        refuse("unreadable", path, f"has {there} bytes, and its header claims {header.size}", REMAKE)
