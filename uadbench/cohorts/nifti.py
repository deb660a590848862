"""NIfTI volumes in and out: read in RAS or refused with a line that says why; written whole."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uadbench import store
from uadbench.errors import InputError
from uadbench.types import Affine, Volume

HEADER_BYTES = 352
"""What a NIfTI-1 file without extensions holds before its voxels."""

LARGEST = 2**31
"""More voxels than this are a damaged header, not a brain."""


@dataclass(frozen=True)
class Image:
    """A volume as it was stored, turned to RAS.

    `data` is (X, Y, Z) float32, axes in RAS; `affine` is the (4, 4) of that array, in millimetres.
    """

    path: Path
    data: Volume
    affine: Affine


def read_volume(path: Path, nan: Literal["refuse", "zero"] = "refuse") -> Image:
    """Read a 3D NIfTI file.

    Parameters
    ----------
    path : a .nii or .nii.gz file; a fourth axis of length 1 is dropped
    nan : what to do with voxels that are NaN or infinite: refuse the file, or set them to 0

    Raises InputError, naming the file, the value and what to do, for a file that is missing,
    damaged, not 3D, constant, with NaN or infinite voxels, or whose affine cannot be inverted.
    """
    image = _open(path)
    _check_header(path, image)
    try:
        if path.suffix == ".gz":  # unpacked to its end, where the checksum is: nibabel alone never looks at it
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))
        image = image.as_reoriented(_to_ras(image.affine))
        data = _voxels(image)
    except MemoryError:
        shape = " x ".join(map(str, image.shape))
        raise InputError(f"{path}: {shape} voxels do not fit in memory; resample the volume") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut short ({_one_line(error)}); copy or make the file again") from None
    data = _check_values(path, data.reshape(data.shape[:3]), nan)
    return Image(path, data, np.asarray(image.affine, dtype=np.float64))


def write_volume(path: Path, data: Volume, affine: Affine) -> None:
    """Write (X, Y, Z) float32 as .nii.gz, atomically, in MNI space (sform and qform code 4).

    Compressed lightly: PET is noise to gzip, and a higher level only costs time.
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
        partial.write_bytes(gzip.compress(raw, compresslevel=1, mtime=0))


def _open(path: Path) -> Any:
    """The image behind a path, with nothing but its header read."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if not path.is_file():
        kind = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {kind}; give a .nii or .nii.gz file")
    try:
        image = nibabel.load(path)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: not a readable NIfTI file ({_one_line(error)}); give a whole .nii.gz") from None
    except Exception as error:  # nibabel's header checks have their own exceptions, one per field
        raise InputError(f"{path}: damaged NIfTI header ({_one_line(error)}); make the file again") from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(f"{path}: is {type(image).__name__}, not NIfTI; convert it to .nii.gz")
    return image


def _to_ras(affine: Affine) -> Any:
    from nibabel import orientations

    turn: Any = orientations.io_orientation
    return turn(affine)


def _check_header(path: Path, image: Any) -> None:
    """Refuse a wrong shape or affine before any voxel is read."""
    shape = tuple(int(n) for n in image.shape)
    text = " x ".join(map(str, shape)) or "none"
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(f"{path}: is {len(shape)}D, shape {text}; give one 3D volume (for frames: their mean)")
    if min(shape) < 1 or _product(shape) > LARGEST:
        raise InputError(f"{path}: its header claims {text} voxels; the header is damaged, make the file again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: its affine cannot be inverted; set a valid sform (e.g. convert the image again)")
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(f"{path}: voxels of type {image.get_data_dtype()}; give real numbers")


def _voxels(image: Any) -> Volume:
    """The voxels as float32, without a detour through float64."""
    proxy = image.dataobj
    scale, offset = getattr(proxy, "slope", 1.0), getattr(proxy, "inter", 0.0)
    if hasattr(proxy, "get_unscaled") and scale == 1 and offset == 0:
        return np.ascontiguousarray(proxy.get_unscaled(), dtype=np.float32)
    return np.ascontiguousarray(proxy, dtype=np.float32)


def _check_values(path: Path, data: Volume, nan: str) -> Volume:
    """Refuse (or mend) voxels that are no numbers; refuse a volume that shows nothing."""
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = ~np.isfinite(data)
        if nan == "refuse":
            count = int(wrong.sum())
            verb = "voxel is" if count == 1 else "voxels are"
            advice = "mend the file, or set them to 0 (--nan zero, or --cohort PATH:nan=zero)"
            raise InputError(f"{path}: {count} {verb} NaN or infinite; {advice}")
        data = np.where(wrong, np.float32(0), data)
        low, high = float(data.min()), float(data.max())
    if low == high:
        raise InputError(f"{path}: every voxel is {low:g}; the volume is empty, make the file again")
    return data


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
