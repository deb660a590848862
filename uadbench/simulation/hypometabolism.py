"""Simulated hypometabolism: a smoothed mask of a dementia's regions lowers the uptake of a healthy scan."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from uadbench.errors import InputError
from uadbench.simulation.regions import dementia
from uadbench.space import atlas
from uadbench.space.gaussian import gaussian_matrix
from uadbench.types import Affine, Volume

REVISION = 3
"""Increased by hand whenever the same table, scan and severity would give another altered scan or truth."""

SIGMA_MM = 5.0
"""Standard deviation of the Gaussian that smooths a mask, in mm (ClinicaDL: 5 voxels of 1 mm)."""

POSITIVE = 0.5
IGNORED = 0.05
LEAST_WEIGHT = 0.4
"""Smallest weight of a region that belongs to the support; the weaker side of a core region has 0.5."""

_TRUNCATE = 4.0  # in standard deviations, scipy's default


def mask(anomaly: str) -> tuple[Volume, Affine]:
    """The weights m of a dementia's regions on the AAL3 lattice at 1 mm, and its affine.

    Returns:
        The mask, (181, 217, 181) float32 in 0..1, 0 outside the regions; and its affine, (4, 4), voxels to MNI mm.

    Raises:
        InputError: For an unknown anomaly.
    """
    labels, affine = atlas.aal3()
    return np.take(_weight_of(anomaly), labels), affine


def _weight_of(anomaly: str, least_weight: float | None = None) -> npt.NDArray[np.float32]:
    """The weight of every label value of AAL3, (256,); with `least_weight`, 1 for such regions and 0 for others."""
    ids = atlas.region_ids()
    weights = np.zeros(256, dtype=np.float32)
    for label, weight in dementia(anomaly).weights.items():
        weights[ids[label]] = weight if least_weight is None else weight >= least_weight
    return weights


def blur(weights: Volume, sigma_voxels: float) -> Volume:
    """Smooth a volume with a Gaussian G of SD `sigma_voxels`, (X, Y, Z) float32, clipped to 0..1.

    Voxels outside the array count as 0. ClinicaDL reflects at the border instead, which gives the same result
    if the weights vanish within 4 sigma of it; reflecting would double a mask that touches the border.
    """
    smooth = np.asarray(weights, dtype=np.float32)
    if sigma_voxels > 0:
        # dense products, although mostly with zeros, take half the time of a convolution
        for matrix in [_gaussian(n, sigma_voxels) for n in reversed(smooth.shape)]:
            smooth = matrix @ smooth.reshape(-1, len(matrix)).T  # (X, Y, Z) -> (Z, X, Y) -> (Y, Z, X) -> (X, Y, Z)
    return np.clip(smooth.reshape(weights.shape), 0.0, 1.0)


@lru_cache(maxsize=32)
def _gaussian(n: int, sigma_voxels: float) -> npt.NDArray[np.float32]:
    return gaussian_matrix(n, sigma_voxels, int(_TRUNCATE * sigma_voxels + 0.5)).astype(np.float32)


def smoothed_mask(anomaly: str, affine: Affine, shape: tuple[int, int, int], sigma_mm: float = SIGMA_MM) -> Volume:
    """The smoothed mask G(m) on a lattice: smoothed at 1 mm, then sampled linearly at the voxel centres.

    Since the weights of a Gaussian sum to 1, ClinicaDL's x' = x G(1 - s m) equals x (1 - s G(m)); therefore one
    smoothed mask serves every severity. The result is cached, and 0 outside the AAL3 field of view.

    Args:
        anomaly: Key of the dementia.
        affine: (4, 4), voxels of the lattice to MNI mm, in any orientation.
        shape: Shape of the lattice, (X, Y, Z).
        sigma_mm: Standard deviation of the Gaussian in mm; 0 for no smoothing.

    Returns:
        (X, Y, Z) float32 in 0..1, read-only.

    Raises:
        InputError: If the anomaly is unknown or sigma is negative.
    """
    return _placed(anomaly, affine, shape, sigma_mm, None)


def smoothed_support(
    anomaly: str,
    affine: Affine,
    shape: tuple[int, int, int],
    sigma_mm: float = SIGMA_MM,
    least_weight: float = LEAST_WEIGHT,
) -> Volume:
    """The smoothed support of a dementia: like `smoothed_mask`, but with weight 1 for every region that counts.

    The support does not depend on how strongly a region is affected, so that the weaker side of an asymmetric dementia
    is part of the truth.

    Args:
        anomaly: Key of the dementia.
        affine: (4, 4), voxels of the lattice to MNI mm, in any orientation.
        shape: Shape of the lattice, (X, Y, Z).
        sigma_mm: Standard deviation of the Gaussian in mm; 0 for no smoothing.
        least_weight: Smallest weight of a region that counts, in 0..1.

    Returns:
        (X, Y, Z) float32 in 0..1, read-only; 0 everywhere if no region has such a weight.

    Raises:
        InputError: If the anomaly is unknown or sigma is negative.
    """
    return _placed(anomaly, affine, shape, sigma_mm, float(least_weight))


def _placed(
    anomaly: str, affine: Affine, shape: tuple[int, int, int], sigma_mm: float, least_weight: float | None
) -> Volume:
    if not (np.isfinite(sigma_mm) and sigma_mm >= 0):
        raise InputError(f"sigma_mm={sigma_mm}: give a width in mm, 0 or more")
    placed = np.asarray(affine, dtype=np.float64)
    x, y, z = (int(length) for length in shape)
    return _sampled(anomaly, placed.tobytes(), (x, y, z), float(sigma_mm), least_weight)


def reduction(smoothed: Volume, severity: float) -> Volume:
    """The reduction map r = s G(m), (X, Y, Z) float32 in 0..s.

    Raises:
        InputError: If the severity is not within 0..1.
    """
    if not 0.0 <= severity <= 1.0:
        raise InputError(f"severity {severity:g} is not in [0, 1]; give 0.3 for 30 %")
    return np.asarray(np.float32(severity) * smoothed, dtype=np.float32)


def alter(scan: Volume, smoothed: Volume, severity: float) -> Volume:
    """The altered scan x' = x (1 - s G(m)), (X, Y, Z) float32, in the unit of the scan.

    Voxels where G(m) is 0 do not change at all. Equation: Hassanaly et al. 2023, section 2.2.

    Raises:
        InputError: If the severity is not within 0..1, or the two lattices differ.
    """
    if scan.shape != smoothed.shape:
        raise InputError(f"the scan has {scan.shape} voxels and the mask {smoothed.shape}; they must share a lattice")
    return np.asarray(scan * (np.float32(1) - reduction(smoothed, severity)), dtype=np.float32)


def truth(
    smoothed: Volume,
    brain: npt.NDArray[np.bool_],
    positive: float = POSITIVE,
    ignored: float = IGNORED,
    support: Volume | None = None,
) -> npt.NDArray[np.int8]:
    """The ground truth of an anomaly, (X, Y, Z) int8: 1 positive, 0 negative, -1 ignored.

    In the brain: 1 where the smoothed support > positive, -1 (altered, but not positive) where G(m) > ignored, and 0
    elsewhere. Outside the brain: -1. It does not depend on the severity.

    Args:
        smoothed: The smoothed mask G(m), which is proportional to the reduction, (X, Y, Z) float32.
        brain: The brain mask, (X, Y, Z) bool.
        positive: The value of the smoothed support above which a voxel is positive.
        ignored: The value of G(m) above which another voxel is ignored.
        support: The smoothed support (see `smoothed_support`), (X, Y, Z) float32; by default G(m), for anomalies
            without weights.

    Returns:
        The labels.

    Raises:
        InputError: Unless 0 <= ignored <= positive and the lattices are the same.
    """
    if not 0.0 <= ignored <= positive:
        raise InputError(f"truth needs 0 <= ignored <= positive; they are {ignored:g} and {positive:g}")
    support = smoothed if support is None else support
    if not smoothed.shape == support.shape == brain.shape:
        raise InputError(f"mask {smoothed.shape}, support {support.shape} and brain {brain.shape} must share a lattice")
    labels = np.where(support > positive, 1, np.where(smoothed > ignored, -1, 0))
    return np.where(brain, labels, -1).astype(np.int8)


def _cut(anomaly: str, sigma_mm: float, least_weight: float | None) -> tuple[Volume, Affine]:
    """The mask at 1 mm and its affine, cropped to where G(m) is not 0, which takes a third of the time and memory."""
    labels, affine = atlas.aal3()
    weight_of = _weight_of(anomaly, least_weight)
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    reach = np.ceil(_TRUNCATE * sigma_mm / voxel_mm).astype(int) + 2  # the outermost layers are exactly 0
    boxes = [atlas.region_boxes()[number] for number in np.flatnonzero(_weight_of(anomaly)).tolist()]
    low = np.maximum(np.min([first for first, _ in boxes], axis=0) - reach, 0)
    high = np.minimum(np.max([last for _, last in boxes], axis=0) + reach + 1, labels.shape)
    part = np.take(weight_of, labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    cut = affine.copy()
    cut[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    return part, cut


@lru_cache(maxsize=24)
def _sampled(
    anomaly: str, affine: bytes, shape: tuple[int, int, int], sigma_mm: float, least_weight: float | None
) -> Volume:
    """G(m), or the smoothed support, on a lattice.

    For parallel axes, smoothing and sampling are one matrix product per axis.
    """
    part, at = _cut(anomaly, sigma_mm, least_weight)
    there = np.frombuffer(affine, dtype=np.float64).reshape(4, 4)
    sigma_voxels = float(sigma_mm / np.linalg.norm(at[:3, 0]))
    sampling = atlas.sampling(part.shape, at, there, shape)
    if sampling is None:
        sampled = atlas.resample(blur(part, sigma_voxels), at, there, shape)
    else:
        sampled = part
        for matrix in reversed(sampling):  # (X, Y, Z) -> (Z, X, Y) -> (Y, Z, X) -> (X, Y, Z)
            n = matrix.shape[1]
            both = matrix @ _gaussian(n, sigma_voxels) if sigma_voxels > 0 else matrix
            sampled = np.asarray(both @ sampled.reshape(-1, n).T, dtype=np.float32)
        sampled = sampled.reshape(shape)
    sampled = np.asarray(np.clip(sampled, 0.0, 1.0), dtype=np.float32)
    sampled.flags.writeable = False
    return sampled
