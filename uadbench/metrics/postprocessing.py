"""The standard post-processing of anomaly maps of every model: smoothing within the brain, then z-scoring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uadbench.metrics.reconstruction import separable
from uadbench.space.gaussian import gaussian_matrix, gaussian_taps

REVISION = 4
"""Increase this number whenever the results for the same maps change."""

TRUNCATE = 4.0
"""The radius at which the Gaussian is truncated, in standard deviations (as in scipy.ndimage)."""


class BrainSmoothing:
    """Gaussian smoothing within the brain: G(m map) / G(m), so that values do not decrease towards its rim.

    This is normalised convolution (Knutsson and Westin 1993, CVPR) with the brain mask m as certainty. It uses compiled
    code on a CPU (`compiled.smoothing`) and torch on other devices; the two agree to 1e-6.

    Args:
        brain: (X, Y, Z) bool, the brain mask.
        fwhm_mm: The full width at half maximum of the Gaussian, in mm.
        voxel_mm: The edge length of a voxel, in mm.

    Raises:
        ValueError: If `brain` is not a mask, or a width is not positive.
    """

    def __init__(self, brain: Tensor, fwhm_mm: float, voxel_mm: float) -> None:
        if brain.dim() != 3 or brain.dtype != torch.bool:
            raise ValueError(f"the brain mask is {tuple(brain.shape)} {brain.dtype}; expected (X, Y, Z) bool")
        if not (fwhm_mm > 0 and voxel_mm > 0):
            raise ValueError(f"FWHM {fwhm_mm} mm on voxels of {voxel_mm} mm; both must be positive")
        self.brain = brain
        self.inside = brain.flatten().nonzero().squeeze(1)
        sigma = fwhm_mm / voxel_mm / math.sqrt(8 * math.log(2))
        self._smooth = (compiled_smoothing if brain.device.type == "cpu" else plain_smoothing)(brain, sigma)
        self._weight = self.voxels(self._smooth(torch.ones_like(brain, dtype=torch.float32)))[0]

    def voxels(self, volumes: Tensor) -> Tensor:
        """Select the voxels of the brain.

        Args:
            volumes: (N, X, Y, Z) or (X, Y, Z).

        Returns:
            (N, V), with N = 1 for a single volume.
        """
        return volumes.reshape(-1, self.brain.numel()).index_select(1, self.inside)

    def volumes(self, values: Tensor) -> Tensor:
        """Put the voxels of the brain back into volumes.

        Args:
            values: (N, V) values in the voxels of the brain.

        Returns:
            (N, X, Y, Z), 0 outside the brain.
        """
        whole = values.new_zeros(len(values), self.brain.numel())
        whole[:, self.inside] = values
        return whole.view(-1, *self.brain.shape)

    def __call__(self, maps: Tensor) -> Tensor:
        """Smooth maps; the result for a scan does not depend on the other scans in the batch.

        Args:
            maps: (N, X, Y, Z) float32, signed; values outside the brain are ignored.

        Returns:
            (N, V) float32, the voxels of the brain.

        Raises:
            ValueError: If the shape does not match the brain mask.
        """
        if maps.dim() != 4 or maps.shape[1:] != self.brain.shape:
            raise ValueError(f"maps {tuple(maps.shape)} do not fit the brain mask {tuple(self.brain.shape)}")
        smoothed = maps.new_empty(len(maps), len(self.inside), dtype=torch.float32)
        for row, values in zip(smoothed, maps, strict=True):
            # the mean is subtracted and added again, so that a constant map stays exactly constant
            level = self.voxels(values).mean(dtype=torch.float64).float()
            torch.div(self.voxels(self._smooth(values - level))[0], self._weight, out=row).add_(level)
        return smoothed


def compiled_smoothing(brain: Tensor, sigma_voxels: float) -> Callable[[Tensor], Tensor]:
    """Make a function that computes G(m map) on a CPU by compiled code.

    Args:
        brain: (X, Y, Z) bool, the brain mask m.
        sigma_voxels: The standard deviation of the Gaussian, in voxels.

    Returns:
        A function of one map (X, Y, Z), which returns (X, Y, Z) float32.
    """
    from uadbench.metrics.compiled.smoothing import smooth

    taps, mask = gaussian_taps(sigma_voxels, _radius(sigma_voxels)).astype(np.float32), brain.numpy()
    return lambda values: torch.from_numpy(smooth(values.float().contiguous().numpy(), mask, taps))


def plain_smoothing(brain: Tensor, sigma_voxels: float) -> Callable[[Tensor], Tensor]:
    """Make a function that computes G(m map) on any device by torch.

    Args:
        brain: (X, Y, Z) bool, the brain mask m.
        sigma_voxels: The standard deviation of the Gaussian, in voxels.

    Returns:
        A function of one map (X, Y, Z), which returns (X, Y, Z) float32.
    """
    # float64 products are precise enough on every device, independent of the matmul precision setting
    kernels = [gaussian_matrix(n, sigma_voxels, _radius(sigma_voxels)) for n in brain.shape]
    matrices = [torch.from_numpy(kernel).to(brain.device) for kernel in kernels]
    return lambda values: separable(values.where(brain, 0.0), matrices).float()


def _radius(sigma_voxels: float) -> int:
    return int(TRUNCATE * sigma_voxels + 0.5)


def voxel_variance(batches: Iterable[Tensor]) -> Tensor:
    """The voxelwise variance between scans.

    Args:
        batches: Batches of scans, (N, V) or (N, X, Y, Z); N may differ.

    Returns:
        (V,) or (X, Y, Z) float64; 0 for a single scan.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for images in batches:
        values = images.double()
        count, total, squares = count + len(values), total + values.sum(dim=0), squares + values.square().sum(dim=0)
    return ((squares - total.square() / max(count, 1)) / max(count - 1, 1)).clamp(min=0)


@dataclass(frozen=True)
class Calibration:
    """The distribution of smoothed maps of healthy scans in each voxel of the brain.

    Attributes:
        mean: (V,) float32, the mean.
        sd: (V,) float32, the standard deviation, with a lower limit.
    """

    mean: Tensor
    sd: Tensor


def calibrate(smoothed: Iterable[Tensor], sd_floor: float) -> Calibration:
    """The mean and SD (ddof = 1) of each voxel over healthy scans, in one pass with one batch in memory at a time.

    The algorithm is that of Welford 1962, Technometrics 4:419, in float64. It adds one scan after the other, so that
    the result does not depend on the batches.

    Args:
        smoothed: Batches (N, V) of smoothed maps from `BrainSmoothing`; N may differ.
        sd_floor: The lower limit of the SD, as a fraction of its median in the brain; without it, voxels that hardly
            vary would dominate the ranking. If the median is 0 (a model whose maps do not vary, such as the identity),
            the SD is 1 everywhere, so that a map of zeros remains zero.

    Returns:
        The mean and SD, on the device of the maps.

    Raises:
        ValueError: For fewer than two maps, values that are not finite, a floor that is not positive, or an empty
            brain.
    """
    if not sd_floor > 0:
        raise ValueError(f"the floor of the SD is {sd_floor}; it must be positive")
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in smoothed:
        for values in batch.double():
            if count == 0:
                mean, squares = torch.zeros_like(values), torch.zeros_like(values)
            count += 1
            delta = values - mean
            mean += delta / count
            squares += delta * (values - mean)
    if count < 2:
        raise ValueError(f"calibration needs at least two healthy maps, not {count}")
    sd = (squares / (count - 1)).sqrt()
    median = float(sd.quantile(0.5)) if len(sd) else math.nan
    if not math.isfinite(median):  # a single NaN or infinity in the brain makes the median NaN
        raise ValueError("the brain is empty, or a healthy map contains values that are not finite")
    sd = sd.clamp(min=sd_floor * median) if median > 0 else torch.ones_like(sd)
    return Calibration(mean.float(), sd.float())


def standardise(smoothed: Tensor, calibration: Calibration) -> Tensor:
    """Convert smoothed maps to z-scores relative to healthy scans: (map - mean) / SD.

    Args:
        smoothed: (N, V) float32, smoothed maps.
        calibration: The mean and SD of healthy scans.

    Returns:
        (N, V) float32, the standard maps.
    """
    return (smoothed - calibration.mean).div_(calibration.sd)


def held_out(smoothed: Tensor, sd_floor: float) -> Tensor:
    """Leave-one-out standard maps: each healthy validation scan is calibrated on the other validation scans.

    A scan that contributes to the mean and SD deviates less from them than a new scan. Thresholds set on such maps
    would be too low, and too many healthy test scans would exceed them.

    Args:
        smoothed: (S, V) float32, smoothed maps of S healthy validation scans in the voxels of the brain.
        sd_floor: As in `calibrate`.

    Returns:
        (S, V) float32. Up to rounding, each row equals `standardise` after `calibrate` on the other rows.

    Raises:
        ValueError: For fewer than three scans, because the SD requires two other scans.
    """
    count = len(smoothed)
    if count < 3:
        raise ValueError(f"leave-one-out calibration needs at least three healthy scans, not {count}")
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
