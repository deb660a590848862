"""Shifts: a finished scan as another scanner, site or pipeline would deliver it, each at one stated size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.spatial.transform import Rotation

from uadbench.cohorts.synthetic import norms
from uadbench.errors import InputError
from uadbench.registry import did_you_mean
from uadbench.simulation.fields import CANVAS
from uadbench.simulation.moving import moved
from uadbench.space import atlas
from uadbench.types import CUT, Grid, Scan, Values, Volume

REVISION = 1
"""Increase it whenever the same scan would be shifted differently."""

RESOLUTION_MM = 8.0
"""The FWHM of a scan as delivered: the uniform resolution of ADNI's processed scans."""

REGULARISATION: Final = 0.01
"""Limits the amplification of any spatial frequency by `sharper` to 5.05 times: (1 + r) / (2 sqrt(r))."""

POSES = 3
"""The number of head positions that `motion` averages."""

BRAIN_BOTTOM_MM = -72.0
"""The MNI z of the lowest voxel of the MNI152 brain mask, in mm."""

Operation = Callable[[Volume, Grid, float, np.random.Generator], npt.NDArray[np.floating]]


@dataclass(frozen=True)
class Shift:
    """One difference between the scans that a model was trained on and those that it is given.

    Attributes:
        name: The name, as in the protocol.
        size: How large it is, in `unit`; 0 leaves a scan unchanged.
        unit: The unit of the size.
        about: What changes, for tables and documentation.
        source: Why this size: the literature.
        operation: (volume, grid, size, random generator) -> the shifted volume.
        moves: Whether the brain moves, so that the location of an anomaly moves with it.
        renormalised: Whether SUVR is computed again after the shift, from the mean in cerebellum and pons of the atlas.
    """

    name: str
    size: float
    unit: str
    about: str
    source: str
    operation: Operation
    moves: bool = False
    renormalised: bool = True


def shifted(volume: Volume, grid: Grid, shift: Shift, seed: int) -> Volume:
    """Shift a scan.

    Args:
        volume: The scan on the grid, (X, Y, Z) float32, SUVR.
        grid: The grid.
        shift: The shift.
        seed: The seed of what is random. A scan and its altered versions share it, and so their noise and direction.

    Returns:
        A new volume, (X, Y, Z) float32, SUVR; equal to `volume` if the size of the shift is 0.
    """
    if shift.size == 0:
        return volume.copy()
    result = _operated(volume, grid, shift, seed)
    if shift.renormalised and (mean := np.vdot(result, _reference(grid))) > 0:
        result *= np.float32(np.vdot(volume, _reference(grid)) / mean)
    return result


def shifted_scan(scan: Scan, grid: Grid, shift: Shift, seed: int) -> Scan:
    """Shift a scan together with the extent that min-max scaling needs.

    The extent belongs to the scan at its original resolution, which is not available; it changes by as much as the
    extent of the volume on the grid.

    Args:
        scan: The scan on the grid.
        grid: The grid.
        shift: The shift.
        seed: As in `shifted`.

    Returns:
        The shifted scan.
    """
    data = shifted(scan.data, grid, shift, seed)
    low, high = scan.extent
    higher = float(data.max()) / float(scan.data.max()) if scan.data.max() > 0 else 1.0
    return replace(scan, data=data, extent=(low + float(data.min()) - float(scan.data.min()), high * higher))


def shifted_mask(mask: Volume, grid: Grid, shift: Shift, seed: int) -> Volume:
    """Move the smoothed mask of an anomaly with the brain.

    Args:
        mask: The smoothed mask, (X, Y, Z) float32 in 0..1.
        grid: The grid.
        shift: The shift.
        seed: The seed with which the scan is shifted.

    Returns:
        (X, Y, Z) float32 in 0..1; the mask itself if the shift does not move the brain.
    """
    return np.clip(_operated(mask, grid, shift, seed), 0, 1) if shift.moves and shift.size else mask


def _operated(volume: Volume, grid: Grid, shift: Shift, seed: int) -> Volume:
    return np.asarray(shift.operation(volume, grid, shift.size, np.random.default_rng(seed)), dtype=np.float32)


@cache
def _reference(grid: Grid) -> Volume:
    """The share of each voxel in cerebellum and pons, the reference region of SUVR, (X, Y, Z) float32."""
    return atlas.resample(norms.reference(), norms.BASE.affine, grid.affine, grid.shape)


def _blurred(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Blur with a Gaussian of FWHM `size` mm."""
    return _filtered(volume, grid, lambda squared: _transfer(squared, size))


def _sharpened(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Undo a Gaussian blur of FWHM `size` mm by a regularised inverse filter, with gain 1 at frequency 0."""

    def gain(squared: Values) -> Values:
        transfer = _transfer(squared, size)
        return (1 + REGULARISATION) * transfer / (np.square(transfer) + REGULARISATION)

    return _filtered(volume, grid, gain)


def _noisier(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Add noise of relative SD `size` with the smoothness of the image.

    It is drawn on a lattice of its own, so that it is the same field on every grid.
    """
    field = rng.standard_normal(CANVAS.shape, dtype=np.float32)
    for axis in (2, 1, 0):
        here, nodes = (g.origin[axis] + g.voxel_mm * np.arange(g.shape[axis]) for g in (grid, CANVAS))
        hills = np.exp(-4 * np.log(2) * ((here[:, None] - nodes) / RESOLUTION_MM) ** 2)
        hills /= np.linalg.norm(hills, axis=1, keepdims=True)  # unit variance
        field = np.moveaxis(np.tensordot(hills.astype(np.float32), field, axes=(1, axis)), 0, axis)
    return np.asarray(volume * np.maximum(1 + np.float32(size) * field, np.float32(0)))


def _scaled_uptake(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Multiply SUVR by 1 + `size`."""
    return volume * np.float32(1 + size)


def _cut(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Leave out the lowest `size` mm of the brain; a voxel that is cut in part keeps its share."""
    top = grid.origin[2] + grid.voxel_mm * (np.arange(grid.shape[2]) + 0.5)
    kept = np.clip((top - (BRAIN_BOTTOM_MM + size)) / grid.voxel_mm, 0, 1)
    return np.asarray(volume * kept.astype(np.float32))


def _translated(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Translate by `size` mm in a random direction."""
    direction = rng.standard_normal(3)
    return _moved(volume, grid, [(np.eye(3), size * direction / np.linalg.norm(direction))])


def _rotated(axis: str) -> Operation:
    def rotate(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
        """Rotate by `size` degrees about an axis through the centre of the grid, in a random sense."""
        rotation = Rotation.from_euler(axis, _sign(rng) * size, degrees=True)
        return _moved(volume, grid, [(rotation.as_matrix(), np.zeros(3))])

    return rotate


def _scaled(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Enlarge or shrink all axes by the fraction `size`, at random."""
    return _moved(volume, grid, [(np.eye(3) * (1 + _sign(rng) * size), np.zeros(3))])


def _in_motion(volume: Volume, grid: Grid, size: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Average POSES rigid poses around the mean pose, with SDs of `size` mm and `size` degrees on each axis."""
    offsets, turns = size * rng.standard_normal((2, POSES, 3))
    offsets, turns = offsets - offsets.mean(axis=0), turns - turns.mean(axis=0)  # registration aligns the average
    rotations = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
    return _moved(volume, grid, list(zip(rotations, offsets, strict=True)))


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _moved(volume: Volume, grid: Grid, poses: list[tuple[Values, Values]]) -> npt.NDArray[np.floating]:
    """The mean over poses: each maps the point p to `matrix` (p - centre) + centre + `offset` mm; cubic interpolation.

    Beyond the field of view the volume is mirrored, since zeros would look like lost uptake where it cuts the brain.
    """
    centre = (np.array(grid.shape) - 1) / 2
    inverses = [np.linalg.inv(matrix).astype(np.float64) for matrix, _ in poses]
    starts = [
        centre - inverse @ (centre + offset / grid.voxel_mm)
        for inverse, (_, offset) in zip(inverses, poses, strict=True)
    ]
    return moved(volume, inverses, starts)


def _transfer(squared: Values, fwhm_mm: float) -> Values:
    """The transfer function of a Gaussian at squared spatial frequencies in 1/mm²."""
    return np.asarray(np.exp(-(np.pi**2) * fwhm_mm**2 * squared / (4 * np.log(2))))


def _filtered(volume: Volume, grid: Grid, gain: Callable[[Values], Values]) -> npt.NDArray[np.floating]:
    """Filter by a gain of the squared spatial frequency (1/mm²), with mirrored boundaries."""
    x, y, z = (np.square(np.arange(n) / (2 * n * grid.voxel_mm)) for n in grid.shape)
    spectrum = fft.dctn(volume) * gain(x[:, None, None] + y[:, None] + z).astype(np.float32)
    return np.asarray(fft.idctn(spectrum))


_IKARI = "Ikari et al. 2016, EJNMMI Physics 3:23"
_WEST = "West et al. 1997, J Comput Assist Tomogr 21:554"
_RUTTIMANN = "Ruttimann et al. 1995, Psychiatry Res 61:43"
_JANSEN = "Jansen et al. 2014, EJNMMI Research 4:8"

SHIFTS: Mapping[str, Shift] = {
    shift.name: shift
    for shift in (
        Shift(
            "blurred",
            6.0,
            "mm FWHM",
            "resolution of 10 mm instead of 8 mm FWHM; smoothing a scan twice does the same",
            "8 and 10 mm are common targets of harmonisation: Štokelj and Simončič 2025, Sensors 25:4230",
            _blurred,
        ),
        Shift(
            "sharper",
            float(np.sqrt(RESOLUTION_MM**2 - 6.0**2)),
            "mm FWHM",
            "resolution of 6 mm instead of 8 mm FWHM, as when the smoothing to 8 mm is left out; noise grows as well",
            f"12 scanner models resolve 5.3 to 8 mm before harmonisation: {_IKARI}",
            _sharpened,
        ),
        Shift(
            "noisier",
            0.045,
            "relative SD",
            "twice the noise: 4.5 % in addition to the 2.6 % that a scan of 8 mm FWHM has",
            f"the noise of scanner models differs by a factor of two (7.7 to 13.7 % before smoothing): {_IKARI}",
            _noisier,
        ),
        Shift(
            "translation",
            3.0,
            "mm",
            "registration that is off by 3 mm, in a random direction for each scan",
            f"median errors of rigid registration of PET to MRI are about 2 to 4 mm: {_WEST}",
            _translated,
            moves=True,
        ),
        Shift(
            "pitch",
            3.0,
            "degrees",
            "registration that is off by 3 degrees about the left-right axis, nodding up or down",
            f"rotations of up to 4.1 degrees occur within a session: {_RUTTIMANN}",
            _rotated("x"),
            moves=True,
        ),
        Shift(
            "yaw",
            3.0,
            "degrees",
            "registration that is off by 3 degrees about the head-foot axis, to the left or right",
            f"as pitch; rotations of up to 2.4 degrees in another plane: {_RUTTIMANN}",
            _rotated("z"),
            moves=True,
        ),
        Shift(
            "scaling",
            0.03,
            "of the length",
            "registration that leaves the brain 3 % too large or too small",
            "brain size after normalisation varies with the method: Sugiura et al. 1999, J Nucl Med 40:317",
            _scaled,
            moves=True,
        ),
        Shift(
            "suvr-high",
            0.05,
            "of the uptake",
            "another reference region: SUVR is 5 % higher",
            f"the ratio of pons to cerebellum varies by 8 % between people: {_JANSEN}",
            _scaled_uptake,
            renormalised=False,
        ),
        Shift(
            "suvr-low",
            -0.05,
            "of the uptake",
            "another reference region: SUVR is 5 % lower",
            f"as suvr-high: {_JANSEN}",
            _scaled_uptake,
            renormalised=False,
        ),
        Shift(
            CUT,
            12.0,
            "mm",
            "an axial field of view that ends early: the lowest 12 mm of the brain, in the cerebellum, are missing",
            "axial fields of view begin at about 15 cm: Lv et al. 2019, Phys Med Biol 64:075004",
            _cut,
        ),
        Shift(
            "motion",
            2.0,
            "mm and degrees",
            f"the head moves between {POSES} parts of the scan, which are averaged without realignment",
            f"movements of 5 mm within a frame are large: Jin et al. 2013, Med Phys 40:102503; {_RUTTIMANN}",
            _in_motion,
        ),
    )
}
"""All shifts by name."""


def shift_named(name: str) -> Shift:
    """Look up a shift.

    Raises:
        InputError: If there is no such shift.
    """
    if name not in SHIFTS:
        raise InputError(f"no shift is called '{name}'; {did_you_mean(name, list(SHIFTS))}")
    return SHIFTS[name]
