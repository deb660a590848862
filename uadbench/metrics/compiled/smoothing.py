"""A compiled loop that smooths a volume along its three axes, for `postprocessing.BrainSmoothing` on a CPU.

Volumes are processed plane by plane. Planes are padded as in `compiled.similarity`, by the radius of this filter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.decorator import compiled

Floats = npt.NDArray[np.float32]


@compiled
def smooth(image: Floats, mask: npt.NDArray[np.bool_], taps: Floats) -> Floats:
    """Smooth an image within a mask; values outside the mask and outside the volume count as 0.

    Args:
        image: (X, Y, Z) float32.
        mask: (X, Y, Z) bool.
        taps: (2 r + 1,) float32, a symmetric kernel.

    Returns:
        (X, Y, Z) float32.
    """
    x, y, z = image.shape
    r = len(taps) // 2
    stride = z + r
    n, start = y * stride, r * stride
    size = n + 2 * start
    result = np.empty((x, y, z), np.float32)
    ring = np.zeros((2 * r + 1, n), np.float32)
    plane, between, out = np.zeros(size, np.float32), np.zeros(size, np.float32), np.empty(n, np.float32)
    for arriving in range(x + r):
        if arriving < x:
            for row in range(y):
                for column in range(z):
                    kept = image[arriving, row, column] if mask[arriving, row, column] else np.float32(0)
                    plane[start + row * stride + column] = kept
            _along(plane, between, start, start, n, stride, taps)
            _along(between, ring[arriving % (2 * r + 1)], start, 0, n, 1, taps)
        here = arriving - r
        if here >= 0:
            out[:] = 0
            for k in range(2 * r + 1):
                if 0 <= here + k - r < x:
                    _add(out, taps[k], ring[(here + k - r) % (2 * r + 1)])
            for row in range(y):
                for column in range(z):
                    result[here, row, column] = out[row * stride + column]
    return result


@compiled
def _along(source: Floats, out: Floats, start: int, begin: int, n: int, step: int, taps: Floats) -> None:
    r = len(taps) // 2
    to, middle = out[begin:], source[start:]
    for j in range(n):
        to[j] = taps[r] * middle[j]
    k = 1
    while k + 1 <= r:  # two taps on each side at a time, to reduce memory access
        t1, t2 = taps[r + k], taps[r + k + 1]
        a1, b1 = source[start - k * step :], source[start + k * step :]
        a2, b2 = source[start - (k + 1) * step :], source[start + (k + 1) * step :]
        for j in range(n):
            to[j] += t1 * (a1[j] + b1[j]) + t2 * (a2[j] + b2[j])
        k += 2
    if k <= r:
        t1, a1, b1 = taps[r + k], source[start - k * step :], source[start + k * step :]
        for j in range(n):
            to[j] += t1 * (a1[j] + b1[j])


@compiled
def _add(out: Floats, weight: float, plane: Floats) -> None:
    for j in range(len(out)):
        out[j] += weight * plane[j]
