"""Compiled loops that sort, count and rank scores, for `localisation` and `scan_score` on a CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.decorator import compiled

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint32]


@compiled
def rank_case(scores: Floats, positives: Integers, negatives: Integers, levels: Floats) -> Doubles:
    """Average precision, AUROC, prevalence and oracle Dice, then recall and Dice at each threshold.

    Recall changes only at thresholds equal to the score of a positive. Average precision is therefore the mean over
    positives of the precision at their scores, which is computed from the numbers of scores at or above. The best Dice
    is also reached at the score of a positive, because a threshold between two of them only adds negatives.

    Args:
        scores: (V,) float32; -0.0 equals 0.0.
        positives: (P,) int64, the indices of positive voxels; at least one.
        negatives: (M,) int64, the indices of negative voxels.
        levels: (T,) float32, the thresholds; voxels with scores above a threshold are detected.

    Returns:
        (4 + 2 T,) float64; the first is NaN if and only if the score of one of these voxels is NaN. The AUROC is NaN
        without negatives.
    """
    p, n, t = len(positives), len(negatives), len(levels)
    row = np.full(4 + 2 * t, np.nan)
    detected, false = np.zeros(t, np.int64), np.zeros(t, np.int64)
    if _count_above(scores, positives, levels, detected) or _count_above(scores, negatives, levels, false):
        return row
    of_positives, of_negatives = _ascending(scores, positives), _ascending(scores, negatives)
    first = 0.0  # differences from the first precision are summed, so that equal precisions give exactly that precision
    total, best, pairs = 0.0, 0.0, 0
    i = below = 0
    while i < p:
        key = of_positives[i]
        after = i + 1
        while after < p and of_positives[after] == key:
            after += 1
        while below < n and of_negatives[below] < key:
            below += 1
        not_above = below
        while not_above < n and of_negatives[not_above] == key:
            not_above += 1
        hits = p - i  # the number of positives with an equal or higher score
        precision = hits / (hits + n - below)
        if i == 0:
            first = precision
        total += (after - i) * (precision - first)
        best = max(best, 2 * hits / (hits + n - below + p))
        pairs += (after - i) * (below + not_above)
        i, below = after, not_above
    row[0] = first + total / p
    if n > 0:
        row[1] = pairs / (2 * p * n)
    row[2] = p / (p + n)
    row[3] = best
    for level in range(t):
        row[4 + level] = detected[level] / p
        row[4 + t + level] = 2 * detected[level] / (detected[level] + false[level] + p)
    return row


@compiled
def top_sum(scores: Floats, count: int) -> float:
    """The sum of the highest scores.

    A histogram of the leading 11 bits gives the bin of the lowest score that is included; only this bin is sorted.

    Args:
        scores: (V,) float32.
        count: The number of scores to sum.

    Returns:
        The sum, in float64; NaN if any score is NaN.
    """
    bits = scores.view(np.uint32)
    counts = np.zeros(2048, np.int64)
    for i in range(len(scores)):
        if np.isnan(scores[i]):
            return np.nan
        counts[_key(bits[i]) >> 21] += 1
    bucket, above = 2047, 0
    while above + counts[bucket] < count:
        above += counts[bucket]
        bucket -= 1
    total, size = 0.0, 0
    among = np.empty(counts[bucket], np.float32)
    for i in range(len(scores)):
        bin_ = _key(bits[i]) >> 21
        if bin_ > bucket:
            total += scores[i]
        elif bin_ == bucket:
            among[size] = scores[i]
            size += 1
    among.sort()
    for i in range(size - (count - above), size):
        total += among[i]
    return total


@compiled
def _key(bits: np.uint32) -> np.uint32:
    """Convert the bits of a float32 to an unsigned integer with the same order; -0.0 equals 0.0."""
    sign = np.uint32(0x80000000)
    # the bits of negative numbers have the reverse order, so they are inverted
    return sign if bits == sign else (~bits if bits & sign else bits | sign)


@compiled
def _count_above(scores: Floats, where: Integers, levels: Floats, counts: Integers) -> bool:
    """Count the scores above each threshold; return True if a score is NaN."""
    undefined = False
    for index in where:
        value = scores[index]
        undefined |= np.isnan(value)
        for level in range(len(levels)):
            counts[level] += value > levels[level]
    return undefined


@compiled
def _ascending(scores: Floats, where: Integers) -> Keys:
    """The scores as integers with the same order, sorted by radix sort with digits of 11 bits."""
    size = len(where)
    keys, other = np.empty(size, np.uint32), np.empty(size, np.uint32)
    bits = scores.view(np.uint32)
    counts = np.zeros((3, 2048), np.int64)
    for i in range(size):
        key = _key(bits[where[i]])
        keys[i] = key
        counts[0, key & 2047] += 1
        counts[1, (key >> 11) & 2047] += 1
        counts[2, key >> 22] += 1
    for digit in range(3):
        start = 0
        for value in range(2048):
            start, counts[digit, value] = start + counts[digit, value], start
    for digit in range(3):
        shift = 11 * digit
        for i in range(size):
            value = (keys[i] >> shift) & 2047
            other[counts[digit, value]] = keys[i]
            counts[digit, value] += 1
        keys, other = other, keys
    return keys
