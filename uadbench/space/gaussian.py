"""The Gaussian kernel: its taps, and smoothing along an axis as a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def gaussian_taps(sigma_voxels: float, radius: int) -> npt.NDArray[np.float64]:
    """The kernel, (2 radius + 1,), that sums to 1.

    Raises:
        ValueError: Unless sigma is positive.
    """
    if not sigma_voxels > 0:
        raise ValueError(f"sigma is {sigma_voxels} voxels; it must be positive")
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_voxels) ** 2)
    return np.asarray(taps / taps.sum())


def gaussian_matrix(n: int, sigma_voxels: float, radius: int) -> npt.NDArray[np.float64]:
    """Smoothing along n voxels with zero padding, as a symmetric banded Toeplitz matrix (n, n).

    The kernel sums to 1 before the border cuts it, so that rows near the border sum to less: what lies outside counts
    as 0.

    Raises:
        ValueError: Unless sigma is positive.
    """
    offset = np.arange(n)[:, None] - np.arange(n)
    weight = gaussian_taps(sigma_voxels, radius)[np.clip(offset, -radius, radius) + radius]
    return np.where(abs(offset) <= radius, weight, 0.0)
