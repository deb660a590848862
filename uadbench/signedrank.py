"""Wilcoxon's signed-rank test for many pairs at once, with the numbers that SciPy gives for each."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]

EXACT_UP_TO = 50
"""Differences up to which the distribution is exact, as in SciPy."""


def signed_rank_p(differences: Values) -> Values:
    """Two-sided p of every row of (tests, subjects) differences; NaN for a row of zeros.

    Zeros are left out (Wilcoxon 1945). Exact for up to 50 differences, else the normal approximation.
    """
    moved = differences != 0
    count = moved.sum(axis=1)
    zeros = differences.shape[1] - count
    ranks = stats.rankdata(np.abs(differences), axis=1) - zeros[:, None]  # zeros have the lowest ranks
    plus = np.where(differences > 0, ranks, 0).sum(axis=1)
    ordered = np.sort(np.where(moved, np.abs(differences), -1.0), axis=1)
    tied = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] > 0)).any(axis=1)
    size = np.maximum(count, 1).astype(np.float64)
    spread = np.sqrt(size * (size + 1) * (2 * size + 1) / 24)
    normal = 2 * stats.norm.sf(np.abs(plus - size * (size + 1) / 4) / spread)
    answer = np.where(count > 0, normal, np.nan)
    for row in np.flatnonzero((count > 0) & (tied | (count <= EXACT_UP_TO))):
        if tied[row]:  # rare, and SciPy has several ways with them
            answer[row] = stats.wilcoxon(differences[row][moved[row]]).pvalue
        else:
            lower = _at_most(int(count[row]))
            smaller = min(plus[row], len(lower) - 1 - plus[row])
            answer[row] = min(1.0, 2 * lower[round(smaller)])
    return answer


@cache
def _at_most(count: int) -> Values:
    """The chance that the ranks of positive differences sum to 0, 1, ... or less."""
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, count + 1):
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    return np.cumsum(ways)
