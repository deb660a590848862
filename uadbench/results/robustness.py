"""Aggregates of the shifted test sets: false alarms in healthy scans, and the average precision that is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from uadbench.results.schema import Bounded, Robustness, ShiftResponse, rounded
from uadbench.stats.bootstrap import percentiles, resampled_means, share_interval, subject_resamples
from uadbench.types import CUT, HEALTHY, SHIFTED, Values

SCORE, PRECISION = "subject.score", "ap.standard"
NOTHING = Bounded(value=None, low=None, high=None)


def robustness(table: pd.DataFrame, threshold: float | None) -> Robustness | None:
    """Compute false alarms and kept average precision under each shift.

    Args:
        table: One row per case.
        threshold: The scan threshold, set on unshifted validation scans; None if there is none.

    Returns:
        The aggregates; None if there are no shifted scans.
    """
    names = [str(name) for name in dict.fromkeys(table["anomaly"]) if str(name).startswith(SHIFTED)]
    shifts = [name for name in names if name.count(":") == 1]
    if not shifts:
        return None
    shifted = {name: table[table["anomaly"] == name] for name in names}
    people, found = 0, []
    for name in shifts:
        altered = {key.removeprefix(f"{name}:"): rows for key, rows in shifted.items() if key.startswith(f"{name}:")}
        pairs = _pairs(table, altered)
        people = max(people, len(pairs))
        found.append(
            ShiftResponse(
                shift=name.removeprefix(SHIFTED),
                false_alarms=false_alarms(shifted[name][SCORE], threshold),
                ap_kept=_ratio(pairs),
            )
        )
    whole = [each for each in found if each.shift != CUT]
    alarms = {each.shift: each.false_alarms.value for each in whole if each.false_alarms.value is not None}
    kept = {each.shift: each.ap_kept.value for each in whole if each.ap_kept.value is not None}
    return Robustness(
        participants=people,
        unshifted=false_alarms(table.loc[table["anomaly"] == HEALTHY, SCORE], threshold),
        shifts=found,
        worst_shift=max(alarms, key=lambda shift: alarms[shift]) if alarms else None,
        worst_false_alarms=max(alarms.values(), default=None),
        least_shift=min(kept, key=lambda shift: kept[shift]) if kept else None,
        least_ap_kept=min(kept.values(), default=None),
    )


def false_alarms(scores: pd.Series[float], threshold: float | None) -> Bounded:
    """The share of healthy scans above the scan threshold, with the interval of Clopper and Pearson."""
    if threshold is None or scores.empty:
        return NOTHING
    share = share_interval(float((scores > threshold).mean()), len(scores))
    return _bounded(share.mean, share.low, share.high)


def _pairs(table: pd.DataFrame, altered: dict[str, pd.DataFrame]) -> Values:
    """Each participant's mean average precision over the altered scans, shifted and not: (participants, 2)."""
    means = []
    for anomaly, rows in altered.items():
        plain = table[(table["anomaly"] == anomaly) & np.isclose(table["severity"], rows["severity"].iloc[0])]
        both = [each.set_index("participant_id")[PRECISION].astype(np.float64) for each in (rows, plain)]
        means.append(pd.concat(both, axis=1, join="inner").sort_index())
    if not means:
        return np.empty((0, 2))
    return np.asarray(sum(means[1:], means[0]) / len(means), dtype=np.float64)


def _ratio(pairs: Values) -> Bounded:
    """The ratio of the two means, with the expanded percentile interval over participants."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs) or pairs[:, 1].sum() <= 0:
        return NOTHING
    value = float(pairs[:, 0].sum() / pairs[:, 1].sum())
    if len(pairs) < 2:
        return _bounded(value, None, None)
    drawn = resampled_means(pairs, subject_resamples(len(pairs)))
    low, high = percentiles(drawn[:, 0] / drawn[:, 1], len(pairs))
    return _bounded(value, low, high)


def _bounded(value: float | None, low: float | None, high: float | None) -> Bounded:
    value, low, high = (None if each is None else rounded(each) for each in (value, low, high))
    return Bounded(value=value, low=low, high=high)
