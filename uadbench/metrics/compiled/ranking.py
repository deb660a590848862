"""Scores sorted, counted and ranked against the truth: what `localisation` and `scan_score` do on a CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uadbench.metrics.compiled.decorator import compiled

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint32]

BUCKETS = 1 << 21
"""Of `count_in_buckets`: sign, exponent and twelve bits of the mantissa."""


@compiled
def rank_case(scores: Floats, positives: Integers, negatives: Integers, levels: Floats) -> Doubles:
    """Average precision, AUROC, prevalence and oracle Dice, then recall, then Dice at each level.

    Recall rises only at thresholds that are a positive's score. So the sum over thresholds is a mean over positives
    of the precision at their score, and it takes counts of scores not below it. The best Dice, too, is reached at a
    positive's score: a threshold between two of them only adds negatives.

    Args:
        scores: (V,); -0.0 equals 0.0.
        positives, negatives: Where the two classes are; there must be at least one positive.
        levels: (T,) a voxel is found where its score lies above.

    Returns:
        (4 + 2 T,) float64; the first is NaN if, and only if, a score that counts is. AUROC is NaN without negatives.
    """
    p, n, t = len(positives), len(negatives), len(levels)
    row = np.full(4 + 2 * t, np.nan)
    found, false = np.zeros(t, np.int64), np.zeros(t, np.int64)
    if _count_above(scores, positives, levels, found) or _count_above(scores, negatives, levels, false):
        return row
    of_positives, of_negatives = _ascending(scores, positives), _ascending(scores, negatives)
    first = 0.0  # precisions are summed as differences from the first: equal ones then give exactly that precision
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
        hits = p - i  # positives that score as much or more
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
        row[4 + level] = found[level] / p
        row[4 + t + level] = 2 * found[level] / (found[level] + false[level] + p)
    return row


@compiled
def top_sum(scores: Floats, count: int) -> float:
    """The sum of the `count` highest of scores (V,), in float64; NaN if one of them is.

    The bucket of the count-th highest is found from the leading 11 bits; only what is in it is sorted.
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
        place = _key(bits[i]) >> 21
        if place > bucket:
            total += scores[i]
        elif place == bucket:
            among[size] = scores[i]
            size += 1
    among.sort()
    for i in range(size - (count - above), size):
        total += among[i]
    return total


@compiled
def count_in_buckets(scores: Floats, truth: npt.NDArray[np.int8], counts: Integers) -> bool:
    """Add voxels (V,) to counts (2, BUCKETS) of positives and negatives by score; False if one that counts is NaN."""
    bits = scores.view(np.uint32)
    for i in range(len(scores)):
        if truth[i] >= 0:
            if np.isnan(scores[i]):
                return False
            counts[1 - truth[i], _key(bits[i]) >> 11] += 1
    return True


@compiled
def _key(bits: np.uint32) -> np.uint32:
    """The bits of a float32 as an unsigned integer of the same order; -0.0 is 0.0."""
    sign = np.uint32(0x80000000)
    # negative numbers order backwards, so all their bits are turned
    return sign if bits == sign else (~bits if bits & sign else bits | sign)


@compiled
def _count_above(scores: Floats, where: Integers, levels: Floats, counts: Integers) -> bool:
    """Count, for each level, the scores above it; True if one is NaN."""
    undefined = False
    for place in where:
        value = scores[place]
        undefined |= np.isnan(value)
        for level in range(len(levels)):
            counts[level] += value > levels[level]
    return undefined


@compiled
def _ascending(scores: Floats, where: Integers) -> Keys:
    """Scores as integers of the same order, sorted by their digits of 11 bits (least significant first)."""
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
