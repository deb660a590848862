"""Compiled sums over the voxels of one case in float64, for `localisation` on a CPU.

They need one pass and no float64 copy; torch needs several passes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.decorator import compiled

Floats = npt.NDArray[np.float32]


@compiled
def sum_where(values: Floats, where: npt.NDArray[np.bool_]) -> float:
    """The sum of values over a mask.

    Args:
        values: (V,) float32.
        where: (V,) bool, the mask.

    Returns:
        The sum, in float64.
    """
    total = 0.0
    for j in range(len(values)):
        total += np.float64(values[j]) * where[j]
    return total


@compiled
def correlation(one: Floats, other: Floats) -> float:
    """Pearson correlation, with means computed first to avoid cancellation.

    Args:
        one: (V,) float32.
        other: (V,) float32.

    Returns:
        The correlation, in float64; NaN if an array is constant or not finite.
    """
    n = len(one)
    mean_one, mean_other = 0.0, 0.0
    low_one, high_one, low_other, high_other = one[0], one[0], other[0], other[0]
    for j in range(n):
        mean_one += one[j]
        mean_other += other[j]
        low_one, high_one = min(low_one, one[j]), max(high_one, one[j])
        low_other, high_other = min(low_other, other[j]), max(high_other, other[j])
    if low_one == high_one or low_other == high_other:
        return math.nan
    mean_one, mean_other = mean_one / n, mean_other / n
    squares_one, squares_other, products = 0.0, 0.0, 0.0
    for j in range(n):
        a, b = one[j] - mean_one, other[j] - mean_other
        squares_one += a * a
        squares_other += b * b
        products += a * b
    r = products / math.sqrt(squares_one * squares_other)
    return r if math.isnan(r) else max(-1.0, min(1.0, r))
