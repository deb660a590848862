"""NIfTI volumes in and out: read in RAS or refused with a line that says why; written whole."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from uadbench import store
from uadbench.cohorts.findings import Finding, ScanError
from uadbench.types import Affine, Volume

HEADER_BYTES = 352
"""What a NIfTI-1 file without extensions holds before its voxels."""

LARGEST = 2**31
"""More voxels than this are a damaged header, not a brain."""


@dataclass(frozen=True)
class Image:
    """A volume as it was stored, turned to RAS.

    `data` is (X, Y, Z) float32, axes in RAS, a read-only view in whatever order the file has; `affine` is the (4, 4)
    of that array, in millimetres.
    """

    path: Path
    data: Volume
    affine: Affine


def read_volume(
    path: Path, nan: Literal["refuse", "zero"] = "refuse", constant: Literal["refuse", "keep"] = "refuse"
) -> Image:
    """Read a 3D NIfTI file.

    Parameters
    ----------
    path : a .nii or .nii.gz file; a fourth axis of length 1 is dropped
    nan : what to do with voxels that are NaN or infinite: refuse the file, or set them to 0
    constant : what to do with a volume of one value: as a scan it is empty, as an anomaly map it may be meant

    Raises ScanError, naming the file, the value and what to do, for a file that is missing,
    damaged, not 3D, constant, with NaN or infinite voxels, or whose affine cannot be inverted.
    """
    image = open_image(path)
    _check_header(path, image)
    try:
        data = _voxels(path, image)
    except MemoryError:
        shape = " x ".join(map(str, image.shape))
        _refuse("too large", path, f"{shape} voxels do not fit in memory", "resample the volume")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        _refuse("truncated", path, f"damaged or cut short ({_one_line(error)})", "copy or make the file again")
    data, affine = _turn_to_ras(data, np.asarray(image.affine, dtype=np.float64))
    return Image(path, _check_values(path, data, nan, constant), affine)


def write_volume(path: Path, data: Volume, affine: Affine) -> None:
    """Write (X, Y, Z) float32 as .nii.gz or .nii, atomically, in MNI space (sform and qform code 4).

    A .gz is compressed lightly: PET is noise to gzip, and a higher level only costs time.
    The bytes depend on the content alone (no time stamp).
    """
    import nibabel

    make: Any = nibabel.Nifti1Image
    image = make(np.asarray(data, dtype=np.float32), affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    image.header.set_xyzt_units("mm")
    raw = image.to_bytes()
    with store.atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(raw, compresslevel=1, mtime=0) if path.suffix == ".gz" else raw)


def _refuse(kind: str, path: Path, value: str, advice: str) -> NoReturn:
    raise ScanError(Finding(kind, str(path), value, advice)) from None


def open_image(path: Path) -> Any:
    """The nibabel image behind a path, with nothing but its header read. Raises ScanError."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if not path.is_file():
        kind = "a folder, not a file" if path.is_dir() else "no such file"
        _refuse("missing", path, kind, "give a .nii or .nii.gz file")
    try:
        image = nibabel.load(path)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        reason = _one_line(error).replace(str(path), "it")
        _refuse("unreadable", path, f"not a readable NIfTI file ({reason})", "give a whole .nii.gz")
    except Exception as error:  # nibabel's header checks have their own exceptions, one per field
        _refuse("unreadable", path, f"damaged NIfTI header ({_one_line(error)})", "make the file again")
    if not isinstance(image, nibabel.Nifti1Image):
        _refuse("unreadable", path, f"is {type(image).__name__}, not NIfTI", "convert it to .nii.gz")
    return image


def _check_header(path: Path, image: Any) -> None:
    """Refuse a wrong shape or affine before any voxel is read."""
    shape = tuple(int(n) for n in image.shape)
    text = " x ".join(map(str, shape)) or "none"
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        _refuse("not 3D", path, f"is {len(shape)}D, shape {text}", "give one 3D volume (for frames: their mean)")
    if min(shape) < 1 or math.prod(shape) > LARGEST:
        advice = "the header is damaged, make the file again"
        _refuse("unreadable", path, f"its header claims {text} voxels", advice)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        advice = "set a valid sform (e.g. convert the image again)"
        _refuse("affine", path, "its affine cannot be inverted", advice)
    if image.get_data_dtype().kind not in "iuf":
        _refuse("unreadable", path, f"voxels of type {image.get_data_dtype()}", "give real numbers")


def _voxels(path: Path, image: Any) -> Volume:
    """The voxels as (X, Y, Z) float32 in the order of the file, without a detour through float64.

    Raises ValueError, EOFError or OSError for a file that ends early or whose checksum is wrong.
    """
    proxy = image.dataobj
    dtype, shape = image.get_data_dtype(), image.shape[:3]
    count = math.prod(shape)
    begin = int(proxy.offset)
    raw = _inflate(path, begin + count * dtype.itemsize) if path.suffix == ".gz" else path.read_bytes()
    stored: npt.NDArray[Any] = np.frombuffer(raw, dtype, count, begin).reshape(shape, order="F")
    if proxy.slope == 1 and proxy.inter == 0:
        return np.asarray(stored, dtype=np.float32)
    return np.asarray(stored * np.float64(proxy.slope) + np.float64(proxy.inter), dtype=np.float32)


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
    with gzip.open(path) as stream:  # several members, more than the header says, or cut short: zlib sorts it out
        content = stream.read(size)
        while stream.read(1 << 20):
            pass
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
            advice = "mend the file, or set them to 0 (--nan zero, or --cohort PATH:nan=zero)"
            _refuse("NaN", path, f"{count} {verb} NaN or infinite", advice)
        data = np.where(wrong, np.float32(0), data)
        low, high = float(data.min()), float(data.max())
    if low == high and constant == "refuse":
        _refuse("constant", path, f"every voxel is {low:g}", "the volume is empty, make the file again")
    return data


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
