"""The standard post-processing of anomaly maps, the same for every model: smoothed in the brain, then z-scored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from uadbench.metrics.reconstruction import gaussian_matrix, separable

REVISION = 2
"""Raise it whenever the same maps get other numbers."""

TRUNCATE = 4.0
"""Where the Gaussian is cut, in standard deviations (as scipy.ndimage does)."""


def smooth_in_brain(maps: Tensor, brain: Tensor, fwhm_mm: float, voxel_mm: float) -> Tensor:
    """Smooth maps with a Gaussian that sees the brain only: G(m map) / G(m), so that the rim is not darkened.

    This is normalised convolution (Knutsson and Westin 1993, CVPR) with the brain mask m as certainty.

    Parameters
    ----------
    maps
        (N, X, Y, Z) float32, signed; what they hold outside the brain is not looked at.
    brain
        (X, Y, Z) bool.
    fwhm_mm, voxel_mm
        Full width of the Gaussian at half its maximum, and of a voxel, in mm.

    Returns
    -------
    Tensor
        (N, X, Y, Z) float32, 0 outside the brain. A scan's map does not depend on the others in the batch.

    Raises
    ------
    ValueError
        Where shapes do not fit, or a width is not positive.

    """
    _check(maps, brain)
    if not (fwhm_mm > 0 and voxel_mm > 0):
        raise ValueError(f"FWHM {fwhm_mm} mm on voxels of {voxel_mm} mm; both must be positive")
    sigma = fwhm_mm / voxel_mm / math.sqrt(8 * math.log(2))
    radius = int(TRUNCATE * sigma + 0.5)
    # float64: its products are exact enough on every device, whatever the matmul precision is set to
    matrices = [gaussian_matrix(n, sigma, radius).to(brain.device) for n in brain.shape]
    weight = separable(brain, matrices).where(brain, 1.0)
    smoothed = torch.empty_like(maps, dtype=torch.float32, memory_format=torch.contiguous_format)
    for target, values in zip(smoothed, maps, strict=True):
        inside = separable(values.where(brain, 0.0), matrices).div_(weight)
        target.copy_(inside.where(brain, 0.0))
    return smoothed


def voxel_variance(batches: Iterable[Tensor]) -> Tensor:
    """Voxelwise variance between scans, (X, Y, Z) float64, from batches (N, X, Y, Z); 0 for a single scan."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for images in batches:
        values = images.double()
        count, total, squares = count + len(values), total + values.sum(dim=0), squares + values.square().sum(dim=0)
    return ((squares - total.square() / max(count, 1)) / max(count - 1, 1)).clamp(min=0)


@dataclass(frozen=True)
class Calibration:
    """What smoothed maps of healthy scans look like in each voxel: mean and floored SD, (X, Y, Z) float32."""

    mean: Tensor
    sd: Tensor


def calibrate(smoothed: Iterable[Tensor], brain: Tensor, sd_floor: float) -> Calibration:
    """Mean and SD (ddof = 1) of each voxel over healthy scans, in one pass that holds one batch at a time.

    Welford 1962, Technometrics 4:419, in float64, scan by scan: how scans are batched changes nothing.

    Parameters
    ----------
    smoothed
        Batches (N, X, Y, Z) of what `smooth_in_brain` returns; N may differ.
    brain
        (X, Y, Z) bool.
    sd_floor
        The SD is at least this fraction of its median in the brain: voxels that hardly ever vary would otherwise
        rule the ranking. Where that median is 0 (a model whose maps never vary, such as the identity) the SD is 1
        everywhere, so that a map of zeros stays one.

    Returns
    -------
    Calibration
        On the maps' device.

    Raises
    ------
    ValueError
        For fewer than two maps, values that are not finite, a floor that is not positive, an empty brain, or
        shapes that do not fit.

    """
    if not sd_floor > 0:
        raise ValueError(f"the floor of the SD is {sd_floor}; it must be positive")
    count = 0
    mean = torch.zeros(brain.shape, dtype=torch.float64, device=brain.device)
    squares = torch.zeros_like(mean)
    for batch in smoothed:
        _check(batch, brain)
        for values in batch:
            count += 1
            delta = values - mean  # float64, as mean is
            mean += delta / count
            squares += delta * (values - mean)
    if count < 2:
        raise ValueError(f"calibration needs at least two healthy maps, not {count}")
    sd = (squares / (count - 1)).sqrt()
    median = float(sd[brain].quantile(0.5)) if brain.any() else math.nan
    if not math.isfinite(median):  # one NaN or infinity anywhere in the brain makes its SD, and this median, NaN
        raise ValueError("the brain is empty, or a healthy map holds values that are not finite")
    sd = sd.clamp(min=sd_floor * median) if median > 0 else torch.ones_like(sd)
    return Calibration(mean.float(), sd.float())


def standardise(smoothed: Tensor, calibration: Calibration, brain: Tensor) -> Tensor:
    """Smoothed maps as z-scores against healthy scans: (map - mean) / SD in the brain, 0 outside.

    `smoothed` is (N, X, Y, Z) float32 from `smooth_in_brain`, and so is the result; `brain` is (X, Y, Z) bool.
    Raises ValueError where shapes do not fit.
    """
    _check(smoothed, brain)
    return ((smoothed - calibration.mean) / calibration.sd).where(brain, 0.0)


def held_out(smoothed: Tensor, sd_floor: float) -> Tensor:
    """The standard maps that healthy validation scans would have, had the others alone calibrated them.

    A scan that helped to set mean and SD looks more ordinary than a new one; thresholds set on such maps would let
    too many healthy test scans pass them.

    Parameters
    ----------
    smoothed
        (S, V) float32: smoothed maps of S healthy validation scans, brain voxels only.
    sd_floor
        As in `calibrate`.

    Returns
    -------
    Tensor
        (S, V) float32. Each row equals `standardise` after `calibrate` on the other rows, to rounding.

    Raises
    ------
    ValueError
        For fewer than three scans: two others are needed for an SD.

    """
    count = len(smoothed)
    if count < 3:
        raise ValueError(f"holding one of {count} scans out leaves too few; at least three are needed")
    mean = smoothed.double().mean(dim=0)
    squares = torch.zeros_like(mean)
    for values in smoothed:
        squares += (values - mean).square()
    standardised = torch.empty_like(smoothed)
    for row, values in zip(standardised, smoothed, strict=True):
        off = values - mean
        others = mean - off / (count - 1)
        variance = (squares - off.square() * (count / (count - 1))).clamp(min=0) / (count - 2)
        sd = variance.sqrt()
        median = float(sd.quantile(0.5))
        sd = sd.clamp(min=sd_floor * median) if median > 0 else torch.ones_like(sd)
        row.copy_((values - others) / sd)
    return standardised


def _check(maps: Tensor, brain: Tensor) -> None:
    if maps.dim() != 4 or maps.shape[1:] != brain.shape or brain.dtype != torch.bool:
        raise ValueError(
            f"maps {tuple(maps.shape)} do not fit the brain mask {tuple(brain.shape)} {brain.dtype}; "
            "expected (N, X, Y, Z) and (X, Y, Z) bool"
        )
