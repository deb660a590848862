"""The Gaussian kernel, and Gaussian smoothing along an axis as a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def gaussian_taps(sigma_voxels: float, radius: int) -> npt.NDArray[np.float64]:
    """A Gaussian kernel that sums to 1.

    Args:
        sigma_voxels: The standard deviation, in voxels.
        radius: The radius at which the kernel is truncated, in voxels.

    Returns:
        The kernel, (2 * radius + 1,) float64.

    Raises:
        ValueError: If sigma is not positive.
    """
    if not sigma_voxels > 0:
        raise ValueError(f"sigma is {sigma_voxels} voxels; it must be positive")
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_voxels) ** 2)
    return np.asarray(taps / taps.sum())


def gaussian_matrix(n: int, sigma_voxels: float, radius: int) -> npt.NDArray[np.float64]:
    """Gaussian smoothing along an axis with zero padding, as a symmetric banded Toeplitz matrix.

    Values outside the volume count as 0: rows near the border contain part of the kernel, so they sum to less than 1.

    Args:
        n: The number of voxels along the axis.
        sigma_voxels: The standard deviation, in voxels.
        radius: The radius at which the kernel is truncated, in voxels.

    Returns:
        The matrix, (n, n) float64.

    Raises:
        ValueError: If sigma is not positive.
    """
    offset = np.arange(n)[:, None] - np.arange(n)
    weight = gaussian_taps(sigma_voxels, radius)[np.clip(offset, -radius, radius) + radius]
    return np.where(abs(offset) <= radius, weight, 0.0)
