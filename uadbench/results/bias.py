"""The bias audit: false alarms in healthy scans by age and by sex."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.results.robustness import SCORE, false_alarms
from uadbench.results.schema import Bias, BiasGroup, rounded
from uadbench.stats.trend import difference_p, trend_p
from uadbench.types import AUDIT, HEALTHY, Values

TERCILES = 3
SEXES = ("F", "M")


def bias(table: pd.DataFrame, threshold: float | None) -> Bias | None:
    """Compute the false-alarm rates of groups of healthy test and audit participants.

    Args:
        table: One row per case.
        threshold: The scan threshold; None if there is none.

    Returns:
        The rates and tests; None without a threshold, or if neither age nor sex is recorded.
    """
    rows = table[table["anomaly"].isin([HEALTHY, AUDIT])]
    if threshold is None or not {"age", "sex"} <= set(rows):
        return None
    age, sex = rows["age"].to_numpy(dtype=np.float64), rows["sex"].astype(str).to_numpy()
    alarms = rows[SCORE].to_numpy(dtype=np.float64) > threshold
    thirds, sexes = _terciles(age), {name: sex == name for name in SEXES if (sex == name).any()}
    groups = [
        BiasGroup(
            by=by,
            value=value,
            participants=int(members.sum()),
            false_alarms=false_alarms(rows[SCORE][members], threshold),
        )
        for by, members_of in (("age", thirds), ("sex", sexes))
        for value, members in members_of.items()
    ]
    if not groups:
        return None
    p_age, p_sex = trend_p(alarms, age), difference_p(*(alarms[sex == name] for name in SEXES))
    return Bias(
        participants=len(rows),
        audited=int((rows["anomaly"] == AUDIT).sum()),
        groups=groups,
        p_age=None if p_age is None else rounded(p_age),
        p_sex=None if p_sex is None else rounded(p_sex),
    )


def _terciles(age: Values) -> dict[str, npt.NDArray[np.bool_]]:
    """The members of each third of the ages, by a label; people of the same age are in the same group."""
    known = age[np.isfinite(age)]
    if not len(known):
        return {}
    edges = np.quantile(known, np.linspace(0, 1, TERCILES + 1)[1:-1], method="lower")
    third = np.where(np.isfinite(age), np.searchsorted(edges, age, side="left"), -1)
    groups = {}
    for number in range(TERCILES):
        members = third == number
        if members.any():
            groups[f"{age[members].min():g}-{age[members].max():g}"] = members
    return groups
