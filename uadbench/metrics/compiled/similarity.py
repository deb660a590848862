"""Compiled loops that sum errors and SSIM over regions, for `reconstruction.compare` on a CPU.

Volumes are processed plane by plane in one pass. A plane of an image, of its square or of a squared difference is
filtered along Y and Z while it is in the CPU cache, and kept in a ring buffer of twelve planes for the filter along X,
which computes two planes at a time. No array as large as a volume is written.

Planes are stored with padding: Y + 10 rows of Z + 5 columns, where the first five rows, the last five rows and the last
five columns are 0. Each filter along Y or Z is then one long loop, and values outside the image count as 0. `n` =
Y * (Z + 5) is the size of a plane without the padding rows; filters leave arbitrary values in the padding columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.decorator import compiled

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

RADIUS = 5


def padded(masks: npt.NDArray[np.bool_]) -> Floats:
    """Convert masks to padded weights.

    Args:
        masks: (R, X, Y, Z) bool.

    Returns:
        (R, X, n) float32, 0 in the padding columns.
    """
    *others, z = masks.shape
    wide = np.zeros((*others, z + RADIUS), np.float32)
    wide[..., :z] = masks
    return wide.reshape(*others[:2], -1)


@compiled
def window(image: Floats, taps: Floats) -> tuple[Floats, Floats]:
    """The local mean and variance of an image in the SSIM window.

    Args:
        image: (X, Y, Z) float32, normalised.
        taps: (11,) float32, the Gaussian kernel.

    Returns:
        The mean and the variance, each (X, n) float32.
    """
    x, y, z = image.shape
    stride, size, n = z + 5, (y + 10) * (z + 5), y * (z + 5)
    mean, variance = np.zeros((x, n), np.float32), np.zeros((x, n), np.float32)
    ring = np.zeros((13, 2, n), np.float32)  # the last plane stays 0 and represents planes outside the volume
    plane, square, between = np.zeros(size, np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32)
    spare = np.empty(n, np.float32)
    slots = np.empty(12, np.int64)
    for arriving in range(x + 6):
        if arriving < x:
            _pad(image[arriving], plane, stride)
            for j in range(size):
                square[j] = plane[j] * plane[j]
            _within(plane, between, ring[arriving % 12, 0], 5 * stride, n, stride, taps)
            _within(square, between, ring[arriving % 12, 1], 5 * stride, n, stride, taps)
        here = arriving - 6
        if 0 <= here < x and here % 2 == 0:
            _choose(slots, here, x)
            last = here + 1 == x
            _across(ring, 0, slots, mean[here], spare if last else mean[here + 1], n, taps)
            _across(ring, 1, slots, variance[here], spare if last else variance[here + 1], n, taps)
    for here in range(x):
        _center(mean[here], variance[here])
    return mean, variance


@compiled
def region_sums(
    images: tuple[Floats, ...],
    known: npt.NDArray[np.bool_],
    means: tuple[Floats, ...],
    variances: tuple[Floats, ...],
    pairs: Integers,
    weights: Floats,
    taps: Floats,
    c1: float,
    c2: float,
) -> npt.NDArray[np.float64]:
    """Sums of squared error, absolute error and SSIM over regions.

    Args:
        images: I volumes, each (X, Y, Z) float32, normalised.
        known: (I,) bool, the images whose `means` and `variances` have been computed by `window`.
        means: I local means, each (X, n) float32; any array if not known.
        variances: I local variances, each (X, n) float32; any array if not known.
        pairs: (P, 2) int64, the indices of the images to compare.
        weights: (R, X, n) float32, from `padded`.
        taps: (11,) float32, the Gaussian kernel.
        c1: The constant C1 of SSIM.
        c2: The constant C2 of SSIM.

    Returns:
        (P, R, 3) float64.
    """
    count = len(images)
    x, y, z = images[0].shape
    stride, size, n = z + 5, (y + 10) * (z + 5), y * (z + 5)
    constants = np.array([c1, c2], dtype=np.float32)
    filtered = len(pairs)
    for a in range(count):
        filtered += 0 if known[a] else 2
    sums = np.zeros((len(pairs), len(weights), 3))
    ring = np.zeros((13, filtered, n), np.float32)
    planes, scratch = np.zeros((12, count, size), np.float32), np.zeros((2, size), np.float32)
    mean, variance = np.empty((2, count, n), np.float32), np.empty((2, count, n), np.float32)
    of_difference, errors = np.empty((2, len(pairs), n), np.float32), np.empty((2, n), np.float32)
    slots = np.empty(12, np.int64)
    for arriving in range(x + 6):
        if arriving < x:
            for a in range(count):
                _pad(images[a][arriving], planes[arriving % 12, a], stride)
            _filter(planes[arriving % 12], known, pairs, ring[arriving % 12], scratch, n, stride, taps)
        here = arriving - 6
        if 0 <= here < x and here % 2 == 0:
            _choose(slots, here, x)
            _filter_across(ring, known, slots, mean, variance, of_difference, taps)
            for k in range(min(2, x - here)):
                for a in range(count):
                    if known[a]:
                        mean[k, a], variance[k, a] = means[a][here + k], variances[a][here + k]
                    else:
                        _center(mean[k, a], variance[k, a])
                for p in range(len(pairs)):
                    ssim = of_difference[k, p]
                    _compare(
                        planes[(here + k) % 12, :, 5 * stride :],
                        mean[k],
                        variance[k],
                        pairs[p],
                        constants,
                        errors,
                        ssim,
                    )
                    for r in range(len(weights)):
                        _sum(errors, ssim, weights[r, here + k], sums[p, r])
    return sums


@compiled
def _filter(
    planes: Floats,
    known: npt.NDArray[np.bool_],
    pairs: Integers,
    out: Floats,
    scratch: Floats,
    n: int,
    stride: int,
    taps: Floats,
) -> None:
    """Filter along Y and Z: each image that is not known and its square, then the squared difference of each pair."""
    square, between = scratch[0], scratch[1]
    into = 0
    for a in range(len(planes)):
        if not known[a]:
            plane = planes[a]
            for j in range(len(square)):
                square[j] = plane[j] * plane[j]
            _within(plane, between, out[into], 5 * stride, n, stride, taps)
            _within(square, between, out[into + 1], 5 * stride, n, stride, taps)
            into += 2
    for p in range(len(pairs)):
        one, other = planes[pairs[p, 0]], planes[pairs[p, 1]]
        for j in range(len(square)):
            square[j] = (one[j] - other[j]) * (one[j] - other[j])
        _within(square, between, out[into + p], 5 * stride, n, stride, taps)


@compiled
def _filter_across(
    ring: Floats,
    known: npt.NDArray[np.bool_],
    slots: Integers,
    mean: Floats,
    variance: Floats,
    of_difference: Floats,
    taps: Floats,
) -> None:
    """Filter two planes of the ring buffer, which `_filter` wrote, along X."""
    n, at = ring.shape[2], 0
    for a in range(len(known)):
        if not known[a]:
            _across(ring, at, slots, mean[0, a], mean[1, a], n, taps)
            _across(ring, at + 1, slots, variance[0, a], variance[1, a], n, taps)
            at += 2
    for p in range(of_difference.shape[1]):
        _across(ring, at + p, slots, of_difference[0, p], of_difference[1, p], n, taps)


@compiled
def _center(mean: Floats, variance: Floats) -> None:
    """Convert the local mean square to the local variance, in place."""
    for j in range(len(mean)):
        variance[j] -= mean[j] * mean[j]


@compiled
def _compare(
    planes: Floats, mean: Floats, variance: Floats, pair: Integers, constants: Floats, errors: Floats, ssim: Floats
) -> None:
    """Compute the squared error, absolute error and SSIM of a plane; `ssim` contains the filtered squared difference.

    SSIM is computed from the difference of the images, as in `reconstruction.ssim_map`. Each loop uses few arrays,
    because the compiler must prove that they do not overlap before it uses vector instructions.
    """
    one, other = planes[pair[0]], planes[pair[1]]
    squared, absolute = errors[0], errors[1]
    for j in range(len(squared)):
        squared[j] = (one[j] - other[j]) * (one[j] - other[j])
        absolute[j] = abs(one[j] - other[j])
    m_a, m_b, v_a, v_b = mean[pair[0]], mean[pair[1]], variance[pair[0]], variance[pair[1]]
    c1, c2 = constants[0], constants[1]
    for j in range(len(ssim)):
        apart = (m_a[j] - m_b[j]) * (m_a[j] - m_b[j])
        luminance = m_a[j] * m_a[j] + m_b[j] * m_b[j] + c1
        structure = v_a[j] + v_b[j] + c2
        ssim[j] = (luminance - apart) * (structure - (ssim[j] - apart)) / (luminance * structure)


@compiled
def _sum(errors: Floats, ssim: Floats, weight: Floats, sums: npt.NDArray[np.float64]) -> None:
    """Add the weighted sums of a plane to `sums`."""
    squared, absolute = errors[0], errors[1]
    s0, s1, s2 = np.float32(0), np.float32(0), np.float32(0)
    for j in range(len(weight)):
        s0 += weight[j] * squared[j]
        s1 += weight[j] * absolute[j]
        s2 += weight[j] * ssim[j]
    sums[0] += s0
    sums[1] += s1
    sums[2] += s2


@compiled
def _pad(plane: Floats, into: Floats, stride: int) -> None:
    rows, columns = plane.shape
    for y in range(rows):
        start = (y + 5) * stride
        for z in range(columns):
            into[start + z] = plane[y, z]


@compiled
def _choose(slots: Integers, here: int, planes: int) -> None:
    """Set the ring indices of the twelve planes around `here` and the next plane; 12 is the plane of zeros."""
    for k in range(12):
        plane = here + k - 5
        slots[k] = plane % 12 if 0 <= plane < planes else 12


@compiled
def _within(plane: Floats, between: Floats, out: Floats, start: int, n: int, stride: int, taps: Floats) -> None:
    """Filter a padded plane along Y, then along Z; `out` has no padding rows."""
    _along(plane, between, start, start, n, stride, taps)
    _along(between, out, start, 0, n, 1, taps)


@compiled
def _along(source: Floats, out: Floats, start: int, begin: int, n: int, step: int, taps: Floats) -> None:
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    a0, b0 = source[start - 5 * step :], source[start + 5 * step :]
    a1, b1 = source[start - 4 * step :], source[start + 4 * step :]
    a2, b2 = source[start - 3 * step :], source[start + 3 * step :]
    a3, b3 = source[start - 2 * step :], source[start + 2 * step :]
    a4, b4 = source[start - step :], source[start + step :]
    middle, to = source[start:], out[begin:]
    for j in range(n):
        outer = t0 * (a0[j] + b0[j]) + t1 * (a1[j] + b1[j]) + t2 * (a2[j] + b2[j])
        to[j] = outer + t3 * (a3[j] + b3[j]) + t4 * (a4[j] + b4[j]) + t5 * middle[j]


@compiled
def _across(ring: Floats, which: int, slots: Integers, out: Floats, following: Floats, n: int, taps: Floats) -> None:
    """Filter along X for two adjacent planes, which share ten of their eleven input planes."""
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    p0, p1, p2, p3 = ring[slots[0], which], ring[slots[1], which], ring[slots[2], which], ring[slots[3], which]
    p4, p5, p6, p7 = ring[slots[4], which], ring[slots[5], which], ring[slots[6], which], ring[slots[7], which]
    p8, p9, p10, p11 = ring[slots[8], which], ring[slots[9], which], ring[slots[10], which], ring[slots[11], which]
    for j in range(n):
        a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = p1[j], p2[j], p3[j], p4[j], p5[j], p6[j], p7[j], p8[j], p9[j], p10[j]
        outer = t0 * (p0[j] + a10) + t1 * (a1 + a9) + t2 * (a2 + a8)
        out[j] = outer + t3 * (a3 + a7) + t4 * (a4 + a6) + t5 * a5
        outer = t0 * (a1 + p11[j]) + t1 * (a2 + a10) + t2 * (a3 + a9)
        following[j] = outer + t3 * (a4 + a8) + t4 * (a5 + a7) + t5 * a6
