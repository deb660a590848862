"""NIfTI volumes in and out: read in RAS or refused with a line that says why; written whole."""

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
"""What a NIfTI-1 file without extensions holds before its voxels."""

CHUNK = 1 << 20
"""So many voxels are scaled, and so many bytes behind the last of them read, at a time."""


@dataclass(frozen=True)
class Image:
    """A volume as it was stored, turned to RAS.

    `data` is (X, Y, Z) float32, axes in RAS, a read-only view in whatever order the file has; `affine` is the (4, 4)
    of that array, in millimetres; `header` is as the file has it.
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
        nan: What to do with voxels that are NaN or infinite: refuse the file, or set them to 0.
        constant: What to do with a volume of one value: as a scan it is empty, as an anomaly map it may be meant.

    Raises:
        ScanError: For a file that is missing, damaged, not 3D, constant, with NaN or infinite voxels, or that does not
            say where in space it lies; the message names the file, the value and what to do.
    """
    header = read_header(path)
    try:
        data = _voxels(path, header)
    except MemoryError:
        shape = " x ".join(map(str, header.shape))
        refuse("too large", path, f"{shape} voxels do not fit in memory", "resample the volume")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        refuse("truncated", path, f"damaged or cut short ({one_line(error)})", "copy or make the file again")
    data, affine = _turn_to_ras(data, header.affine)
    return Image(path, _check_values(path, data, nan, constant), affine, header)


def write_volume(path: Path, data: Volume, forms: Forms) -> None:
    """Write (X, Y, Z) float32 as .nii.gz or .nii, atomically.

    `forms` says where the voxels lie and in what space: `forms.mni` for a grid that was laid out in MNI space,
    and for what is made of a file the forms of its header, so that nothing is claimed that the file does not claim.

    A .gz is compressed lightly: PET is noise to gzip, and a higher level only costs time.
    The bytes depend on the content alone (no time stamp).
    """
    import nibabel

    make: Any = nibabel.Nifti1Image
    image = make(np.asarray(data, dtype=np.float32), forms.affine)
    for put, form in ((image.set_sform, forms.sform), (image.set_qform, forms.qform)):
        put(form and form.affine, code=form.code if form else 0)
    image.header.set_xyzt_units(forms.unit)
    raw = image.to_bytes()
    with files.atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(raw, compresslevel=1, mtime=0) if path.suffix == ".gz" else raw)


def _voxels(path: Path, header: Header) -> Volume:
    """The voxels as (X, Y, Z) float32 in the order of the file, without a detour through float64.

    Raises:
        ValueError: For a file that ends early or whose checksum is wrong.
        EOFError: For a file that ends early or whose checksum is wrong.
        OSError: For a file that ends early or whose checksum is wrong.
    """
    raw = _inflate(path, header.size) if is_packed(path) else _beginning(path, header.size)
    stored: npt.NDArray[Any] = np.frombuffer(raw, header.dtype, math.prod(header.shape), header.offset)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and refused as such
        if header.slope == 1 and header.intercept == 0:
            data = np.asarray(stored, dtype=np.float32)
        else:
            data = _scaled(stored, header.slope, header.intercept)
    return data.reshape(header.shape[:3], order="F")


def _scaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """In float64, a part at a time: a copy of all in float64 could be the largest thing in memory."""
    data = np.empty(len(stored), dtype=np.float32)
    for start in range(0, len(stored), CHUNK):
        part = slice(start, start + CHUNK)
        data[part] = stored[part] * np.float64(slope) + np.float64(intercept)
    return data


def _beginning(path: Path, size: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(size)


def _inflate(path: Path, size: int) -> bytes:
    """The first `size` bytes in a gzip file, which is read to its end, where the checksum is.

    ISA-L inflates twice as fast as zlib, and nibabel alone never looks at the checksum.
    """
    from isal import isal_zlib

    inflater = isal_zlib.decompressobj(31)  # 31: with the header and trailer of gzip
    try:
        content: bytes = inflater.decompress(path.read_bytes(), size + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
        raise ValueError(str(error)) from None
    if inflater.eof and len(content) == size and not inflater.unused_data:
        return content
    del content
    with gzip.open(path) as stream:  # several members, more than the header says, or cut short: zlib sorts it out
        content = stream.read(size)
        after = 0
        while more := len(stream.read(CHUNK)):
            after += more
            if after > MOST_BYTES_AFTER:
                raise ValueError(f"it goes on after the {size} bytes that its header claims")
    return content


def _turn_to_ras(data: Volume, affine: Affine) -> tuple[Volume, Affine]:
    """The same volume with its axes in RAS, as a view, and the affine of that."""
    from nibabel import orientations

    turn: Any = orientations
    order = turn.io_orientation(affine)
    turned = turn.apply_orientation(data, order)
    return turned, np.asarray(affine @ turn.inv_ornt_aff(order, data.shape), dtype=np.float64)


def _check_values(path: Path, data: Volume, nan: str, constant: str) -> Volume:
    """Refuse (or mend) voxels that are no numbers; refuse (or keep) a volume that shows nothing."""
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = ~np.isfinite(data)
        if nan == "refuse":
            count = int(wrong.sum())
            verb = "voxel is" if count == 1 else "voxels are"
            advice = "mend the file, or set them to 0 (PATH:nan=zero; simulate: --nan zero)"
            refuse("NaN", path, f"{count} {verb} NaN or infinite", advice)
        data = np.where(wrong, np.float32(0), data)
        low, high = float(data.min()), float(data.max())
    if low == high and constant == "refuse":
        refuse("constant", path, f"every voxel is {low:g}", "the volume is empty, make the file again")
    return data
