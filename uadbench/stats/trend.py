"""Tests of whether a share depends on a person: a trend over a number, and a difference between two groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from uadbench.types import Values

PERMUTATIONS = 9_999


def trend_p(events: npt.NDArray[np.bool_], values: Values) -> float | None:
    """The two-sided permutation p-value of the Cochran-Armitage statistic: does the share change with a number?

    The statistic, the sum of the values of the people with an event, is that of the trend test of Cochran (1954,
    Biometrics 10:417) and Armitage (1955, Biometrics 11:375) with the values themselves as scores. Permutations
    replace its normal approximation, which is poor for few events. They are fixed, so that the p-value is the same on
    every machine.

    Args:
        events: (people,) whether each person has the event.
        values: (people,) a number, such as the age; people with NaN are left out.

    Returns:
        The p-value, at least 1 / (PERMUTATIONS + 1); None if nobody or everybody has the event, or the
        values are equal.
    """
    known = np.isfinite(values)
    events, values = events[known], values[known]
    count = int(events.sum())
    if not 0 < count < len(events) or np.ptp(values) == 0:
        return None
    order = np.argsort(values, kind="stable")  # so that the order of people does not matter
    events, values = events[order], values[order] - values.mean()
    shuffled = np.random.default_rng(0).permuted(np.tile(values, (PERMUTATIONS, 1)), axis=1)
    off = np.abs(shuffled[:, :count].sum(axis=1))
    as_far = off >= abs(float(values[events].sum())) - 1e-9 * np.abs(values).max()
    return float(as_far.sum() + 1) / (PERMUTATIONS + 1)


def difference_p(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float | None:
    """The two-sided p-value of Fisher's exact test between two groups.

    Args:
        first: (people,) whether each person of the first group has the event.
        second: The same for the second group.

    Returns:
        The p-value; None if a group is empty, or nobody or everybody has the event.
    """
    both = np.concatenate([first, second])
    if not len(first) or not len(second) or both.all() or not both.any():
        return None
    table = [[int(group.sum()), int((~group).sum())] for group in (first, second)]
    return float(stats.fisher_exact(table).pvalue)
