"""Reads and writes voxels of NIfTI files; bad headers are refused in `header`, bad affines in `forms`."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from uadbench.cohorts.findings import refuse
from uadbench.cohorts.io.forms import Forms
from uadbench.cohorts.io.header import MOST_BYTES_AFTER, Header, is_packed, one_line, read_header
from uadbench.runtime import files
from uadbench.types import Affine, Volume

HEADER_BYTES = 352
"""The number of bytes before the voxels in a NIfTI-1 file without extensions."""

CHUNK = 1 << 20
"""The number of voxels to scale, and of trailing bytes to read, at a time."""


@dataclass(frozen=True)
class Image:
    """A volume at its original resolution, in RAS orientation.

    Attributes:
        path: The file.
        data: (X, Y, Z) float32, axes in RAS; a read-only view with the memory order of the file.
        affine: (4, 4) from voxel indices of `data` to MNI millimetres.
        header: The header of the file, before reorientation.
    """

    path: Path
    data: Volume
    affine: Affine
    header: Header


def read_volume(
    path: Path, nan: Literal["refuse", "zero"] = "refuse", constant: Literal["refuse", "keep"] = "refuse"
) -> Image:
    """Read a 3D NIfTI file.

    Args:
        path: A .nii or .nii.gz file; a fourth axis of length 1 is dropped.
        nan: "refuse" a file with NaN or infinite voxels, or set these voxels to "zero".
        constant: "refuse" a volume with a single value, which as a scan is empty, or "keep" it, because an anomaly map
            may be constant.

    Returns:
        The volume.

    Raises:
        ScanError: If the file is missing, corrupted, not 3D, constant, has NaN or infinite voxels, or has no position
            in space; the message names the file, the value and what to do.
    """
    header = read_header(path)
    try:
        data = _voxels(path, header)
    except MemoryError:
        shape = " x ".join(map(str, header.shape))
        refuse("too large", path, f"{shape} voxels do not fit in memory", "resample the volume")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        refuse("truncated", path, f"corrupted or truncated ({one_line(error)})", "copy or create the file again")
    data, affine = _turn_to_ras(data, header.affine)
    return Image(path, _check_values(path, data, nan, constant), affine, header)


def image_of(data: Volume, forms: Forms) -> Any:
    """A volume as a nibabel image.

    Args:
        data: (X, Y, Z) float32.
        forms: Where the voxels lie and in what space.
    """
    import nibabel

    make: Any = nibabel.Nifti1Image
    image = make(np.asarray(data, dtype=np.float32), forms.affine)
    for put, form in ((image.set_sform, forms.sform), (image.set_qform, forms.qform)):
        put(form and form.affine, code=form.code if form else 0)
    image.header.set_xyzt_units(forms.unit)
    return image


def write_volume(path: Path, data: Volume, forms: Forms) -> None:
    """Write a volume atomically.

    A .gz file is compressed at the lowest level, because higher levels take longer but hardly reduce the size of PET
    images. The bytes depend only on the content (there is no time stamp).

    Args:
        path: A .nii or .nii.gz file.
        data: (X, Y, Z) float32.
        forms: The position and space of the voxels: `forms.mni` for a grid in MNI space, or the forms of the header of
            the file from which the volume was computed, so that no other space is claimed.

    Raises:
        Unwritable: If the file cannot be written.
    """
    raw = image_of(data, forms).to_bytes()
    with files.atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(raw, compresslevel=1, mtime=0) if path.suffix == ".gz" else raw)


def _voxels(path: Path, header: Header) -> Volume:
    """The voxels, (X, Y, Z) float32, in the memory order of the file.

    Raises ValueError, EOFError or OSError for a file that is truncated or has a wrong checksum.
    """
    raw = _inflate(path, header.size) if is_packed(path) else _beginning(path, header.size)
    stored: npt.NDArray[Any] = np.frombuffer(raw, header.dtype, math.prod(header.shape), header.offset)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives infinity, which is refused later
        if header.slope == 1 and header.intercept == 0:
            data = np.asarray(stored, dtype=np.float32)
        else:
            data = _scaled(stored, header.slope, header.intercept)
    return data.reshape(header.shape[:3], order="F")


def _scaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """Scale voxels in float64, in chunks, because a float64 copy of the volume could need much memory."""
    data = np.empty(len(stored), dtype=np.float32)
    for start in range(0, len(stored), CHUNK):
        part = slice(start, start + CHUNK)
        data[part] = stored[part] * np.float64(slope) + np.float64(intercept)
    return data


def _beginning(path: Path, size: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(size)


def _inflate(path: Path, size: int) -> bytes:
    """The first `size` uncompressed bytes of a gzip file, which is read to its end to verify the checksum.

    ISA-L is twice as fast as zlib, and nibabel does not verify the checksum.
    """
    from isal import isal_zlib

    inflater = isal_zlib.decompressobj(31)  # 31: gzip format with header and trailer
    try:
        content: bytes = inflater.decompress(path.read_bytes(), size + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
        raise ValueError(str(error)) from None
    if inflater.eof and len(content) == size and not inflater.unused_data:
        return content
    del content
    with gzip.open(path) as stream:  # several members, more data than the header claims, or truncated
        content = stream.read(size)
        after = 0
        while more := len(stream.read(CHUNK)):
            after += more
            if after > MOST_BYTES_AFTER:
                raise ValueError(f"it continues after the {size} bytes that its header claims")
    return content


def _turn_to_ras(data: Volume, affine: Affine) -> tuple[Volume, Affine]:
    """A view of the volume with its axes in RAS, and its affine."""
    from nibabel import orientations

    turn: Any = orientations
    order = turn.io_orientation(affine)
    turned = turn.apply_orientation(data, order)
    return turned, np.asarray(affine @ turn.inv_ornt_aff(order, data.shape), dtype=np.float64)


def _check_values(path: Path, data: Volume, nan: str, constant: str) -> Volume:
    """Refuse (or replace) voxels that are not finite; refuse (or keep) a constant volume."""
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = ~np.isfinite(data)
        if nan == "refuse":
            count = int(wrong.sum())
            verb = "voxel is" if count == 1 else "voxels are"
            advice = "correct the file, or set them to 0 (PATH:nan=zero; simulate: --nan zero)"
            refuse("NaN", path, f"{count} {verb} NaN or infinite", advice)
        data = np.where(wrong, np.float32(0), data)
        low, high = float(data.min()), float(data.max())
    if low == high and constant == "refuse":
        refuse("constant", path, f"every voxel is {low:g}", "the volume is empty; create the file again")
    return data
