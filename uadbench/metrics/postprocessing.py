"""The standard post-processing of anomaly maps, the same for every model: smoothed in the brain, then z-scored."""

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
"""Raise it whenever the same maps get other numbers."""

TRUNCATE = 4.0
"""Where the Gaussian is cut, in standard deviations (as scipy.ndimage does)."""


class BrainSmoothing:
    """A Gaussian that sees the brain only: G(m map) / G(m), so that the rim is not darkened.

    This is normalised convolution (Knutsson and Westin 1993, CVPR) with the brain mask m as certainty. On a CPU it is
    compiled code (`compiled.smoothing`), elsewhere torch; the two agree to 1e-6.

    Args:
        brain: (X, Y, Z) bool.
        fwhm_mm, voxel_mm: Full width of the Gaussian at half its maximum, and of a voxel, in mm.

    Raises:
        ValueError: Where the brain is no mask, or a width is not positive.
    """

    def __init__(self, brain: Tensor, fwhm_mm: float, voxel_mm: float) -> None:
        if brain.dim() != 3 or brain.dtype != torch.bool:
            raise ValueError(f"a brain mask is (X, Y, Z) bool, not {tuple(brain.shape)} {brain.dtype}")
        if not (fwhm_mm > 0 and voxel_mm > 0):
            raise ValueError(f"FWHM {fwhm_mm} mm on voxels of {voxel_mm} mm; both must be positive")
        self.brain = brain
        self.inside = brain.flatten().nonzero().squeeze(1)
        sigma = fwhm_mm / voxel_mm / math.sqrt(8 * math.log(2))
        self._smooth = (compiled_smoothing if brain.device.type == "cpu" else plain_smoothing)(brain, sigma)
        self._weight = self.voxels(self._smooth(torch.ones_like(brain, dtype=torch.float32)))[0]

    def voxels(self, volumes: Tensor) -> Tensor:
        """The voxels of the brain, (N, V), of volumes (N, X, Y, Z) or (X, Y, Z)."""
        return volumes.reshape(-1, self.brain.numel()).index_select(1, self.inside)

    def volumes(self, values: Tensor) -> Tensor:
        """Volumes (N, X, Y, Z) that hold `values` (N, V) in the brain, and 0 outside."""
        whole = values.new_zeros(len(values), self.brain.numel())
        whole[:, self.inside] = values
        return whole.view(-1, *self.brain.shape)

    def __call__(self, maps: Tensor) -> Tensor:
        """Smooth maps (N, X, Y, Z) float32, signed; what they hold outside the brain is not looked at.

        Returns (N, V) float32, voxels of the brain. A scan's map does not depend on the others in the batch.

        Raises:
            ValueError: Where shapes do not fit.
        """
        if maps.dim() != 4 or maps.shape[1:] != self.brain.shape:
            raise ValueError(f"maps {tuple(maps.shape)} do not fit the brain mask {tuple(self.brain.shape)}")
        smoothed = maps.new_empty(len(maps), len(self.inside), dtype=torch.float32)
        for row, values in zip(smoothed, maps, strict=True):
            # what all voxels have in common is put aside: a constant map stays one to the bit, and ranks nothing
            level = self.voxels(values).mean(dtype=torch.float64).float()
            torch.div(self.voxels(self._smooth(values - level))[0], self._weight, out=row).add_(level)
        return smoothed


def compiled_smoothing(brain: Tensor, sigma_voxels: float) -> Callable[[Tensor], Tensor]:
    """How to compute G(m map) of one map (X, Y, Z), in float32, on a CPU."""
    from uadbench.metrics.compiled.smoothing import smooth

    taps, mask = gaussian_taps(sigma_voxels, _radius(sigma_voxels)).astype(np.float32), brain.numpy()
    return lambda values: torch.from_numpy(smooth(values.float().contiguous().numpy(), mask, taps))


def plain_smoothing(brain: Tensor, sigma_voxels: float) -> Callable[[Tensor], Tensor]:
    """The same in torch, on any device."""
    # float64: its products are exact enough on every device, whatever the matmul precision is set to
    kernels = [gaussian_matrix(n, sigma_voxels, _radius(sigma_voxels)) for n in brain.shape]
    matrices = [torch.from_numpy(kernel).to(brain.device) for kernel in kernels]
    return lambda values: separable(values.where(brain, 0.0), matrices).float()


def _radius(sigma_voxels: float) -> int:
    return int(TRUNCATE * sigma_voxels + 0.5)


def voxel_variance(batches: Iterable[Tensor]) -> Tensor:
    """Voxelwise variance between scans, (V,) or (X, Y, Z) float64, from batches (N, ...); 0 for a single scan."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for images in batches:
        values = images.double()
        count, total, squares = count + len(values), total + values.sum(dim=0), squares + values.square().sum(dim=0)
    return ((squares - total.square() / max(count, 1)) / max(count - 1, 1)).clamp(min=0)


@dataclass(frozen=True)
class Calibration:
    """What smoothed maps of healthy scans look like in each voxel of the brain: mean and floored SD, (V,) float32."""

    mean: Tensor
    sd: Tensor


def calibrate(smoothed: Iterable[Tensor], sd_floor: float) -> Calibration:
    """Mean and SD (ddof = 1) of each voxel over healthy scans, in one pass that holds one batch at a time.

    Welford 1962, Technometrics 4:419, in float64, scan by scan: how scans are batched changes nothing.

    Args:
        smoothed: Batches (N, V) of what `BrainSmoothing` returns; N may differ.
        sd_floor: The SD is at least this fraction of its median in the brain: voxels that hardly ever vary would
            otherwise rule the ranking. Where that median is 0 (a model whose maps never vary, such as the identity) the
            SD is 1 everywhere, so that a map of zeros stays one.

    Returns:
        On the maps' device.

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
    if not math.isfinite(median):  # one NaN or infinity anywhere in the brain makes its SD, and this median, NaN
        raise ValueError("the brain is empty, or a healthy map holds values that are not finite")
    sd = sd.clamp(min=sd_floor * median) if median > 0 else torch.ones_like(sd)
    return Calibration(mean.float(), sd.float())


def standardise(smoothed: Tensor, calibration: Calibration) -> Tensor:
    """Smoothed maps as z-scores against healthy scans: (map - mean) / SD, (N, V) float32."""
    return (smoothed - calibration.mean).div_(calibration.sd)


def held_out(smoothed: Tensor, sd_floor: float) -> Tensor:
    """The standard maps that healthy validation scans would have, had the others alone calibrated them.

    A scan that helped to set mean and SD looks more ordinary than a new one; thresholds set on such maps would let
    too many healthy test scans pass them.

    Args:
        smoothed: (S, V) float32: smoothed maps of S healthy validation scans, brain voxels only.
        sd_floor: As in `calibrate`.

    Returns:
        (S, V) float32. Each row equals `standardise` after `calibrate` on the other rows, to rounding.

    Raises:
        ValueError: For fewer than three scans: two others are needed for an SD.
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
