"""What a NIfTI file says of its voxels: read from its first bytes, and believed only where it can be true."""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from uadbench.cohorts.findings import Finding, ScanError
from uadbench.types import Affine

LARGEST = 100_000_000
"""Voxels. A brain at 0.5 mm has 70 million; more are a damaged header."""

MOST_BYTES_BEFORE = 64 << 20
"""Before the first voxel: the header and its extensions, which are skipped."""

MOST_BYTES_AFTER = 1 << 20
"""After the last voxel: padding."""

MOST_INFLATED = 1032
"""Bytes that a byte of deflate becomes at most: 258 of them from two bits (RFC 1951)."""

FIRST_BYTES = 1 << 16
"""So much of a .gz is inflated for its header."""

FURTHEST_MM = 1e6
REMAKE = "the header is damaged, make the file again"

_quiet = logging.getLogger("uadbench.nibabel")  # nibabel logs what it mends; here a file is read, or refused in a line
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class Header:
    """Where the voxels lie in a file, and in space.

    Attributes
    ----------
    shape : three axes, perhaps followed by axes of length 1
    affine : (4, 4), from the axes of the file to RAS in millimetres
    dtype, offset : of the stored numbers, and the bytes before the first
    slope, intercept : a voxel is slope * stored + intercept
    sform, qform : the two affines that the file has, None where one is not set or cannot be used
    """

    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    sform: Affine | None
    qform: Affine | None

    @property
    def size(self) -> int:
        """Bytes from the begin of the (inflated) file to the end of its last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """The header of a .nii or .nii.gz file; nothing is allocated for its voxels.

    Raises ScanError, naming the file, the value and what to do, for a file that is missing or no NIfTI, is not 3D, has
    an affine that cannot be inverted, or claims voxels that it cannot hold.
    """
    there = _size_on_disk(path)
    header = _parsed(path, _first_bytes(path))
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
    found = Header(
        shape,
        _checked_affine(path, header),
        dtype,
        int(header["vox_offset"].item()),
        slope,
        intercept,
        _form(header.get_sform),
        _form(header.get_qform),
    )
    _check_size(path, found, there)
    return found


def is_packed(path: Path) -> bool:
    """Whether a file is a .gz."""
    return path.suffix.lower() == ".gz"


def refuse(kind: str, path: Path, value: str, advice: str) -> NoReturn:
    """Raise ScanError."""
    raise ScanError(Finding(kind, str(path), value, advice)) from None


def one_line(error: BaseException) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _size_on_disk(path: Path) -> int:
    """In bytes. Refuses what is no file, or has not a name by which it is known as NIfTI."""
    try:
        if path.is_file():
            size = path.stat().st_size
        else:
            kind = "a folder, not a file" if path.is_dir() else "no such file"
            refuse("missing", path, kind, "give a .nii or .nii.gz file")
    except OSError as error:  # a name that is too long, a folder that is closed
        refuse("missing", path, f"cannot be looked at ({error.strerror})", "give a .nii or .nii.gz file")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        refuse("unreadable", path, "is not NIfTI by its name", "convert it to .nii.gz")
    return size


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            start = handle.read(FIRST_BYTES)
        return gzip.GzipFile(fileobj=io.BytesIO(start)).read(1024) if is_packed(path) else start
    except (OSError, EOFError, ValueError, zlib.error) as error:
        refuse("unreadable", path, f"not a readable NIfTI file ({one_line(error)})", "give a whole .nii.gz")


def _parsed(path: Path, start: bytes) -> Any:
    """The fields of the header, mended by nibabel where that does no harm."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    long = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    kind: Any = Nifti2Header if Nifti2Header.sizeof_hdr in long else Nifti1Header
    if len(start) < kind.sizeof_hdr:
        refuse("unreadable", path, "not a readable NIfTI file (it ends in its header)", "give a whole .nii.gz")
    header = kind(start[: kind.sizeof_hdr], check=False)
    magic = header["magic"].item()
    if magic == kind.pair_magic:
        refuse("unreadable", path, "is half of a pair of .hdr and .img", "convert both to one .nii.gz")
    if magic != kind.single_magic:
        refuse("unreadable", path, "not a readable NIfTI file (its header is none)", "give a whole .nii.gz")
    begin = header["vox_offset"].item()
    if not kind.single_vox_offset <= begin <= MOST_BYTES_BEFORE:  # nor is NaN
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


def _checked_affine(path: Path, header: Any) -> Affine:
    """From sform, qform or voxel sizes, in this order."""
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except Exception as error:  # a quaternion that is none
        refuse("affine", path, f"damaged NIfTI header ({one_line(error)})", "set a valid sform")
    advice = "set a valid sform (e.g. convert the image again)"
    furthest = float(np.abs(affine).max())
    if furthest > FURTHEST_MM:  # NaN is told below
        refuse("affine", path, f"its affine holds {furthest:.3g} mm", advice)
    axes = affine[:3, :3]
    with np.errstate(all="ignore"):
        volume, box = abs(float(np.linalg.det(axes))), float(np.prod(np.linalg.norm(axes, axis=0)))
    if not (volume >= 1e-9 and volume > 1e-6 * box):
        refuse("affine", path, "its affine cannot be inverted", advice)
    return affine


def _form(get: Callable[..., Any]) -> Affine | None:
    try:
        affine, code = get(coded=True)
    except Exception:  # a quaternion that is none
        return None
    return np.asarray(affine, dtype=np.float64) if code else None
