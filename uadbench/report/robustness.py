"""Parts of a report about domain shift and bias: tables of false alarms and of the average precision that is kept."""

from __future__ import annotations

import pandas as pd

from uadbench.metrics.catalogue import explained, heading_of
from uadbench.report.exhibit import Exhibit
from uadbench.report.words import bounded, number
from uadbench.results.schema import Result

ALARMS = f"{heading_of('robustness.shifts.false_alarms')} [95 %]"


def shift_rows(result: Result) -> list[dict[str, str]]:
    """One row per shift, after a row without shift; none if the result has no shifted scans."""
    scores = result.robustness
    if scores is None:
        return []
    kept = f"{heading_of('robustness.shifts.ap_kept')} [95 %]"
    rows = [{"": "no shift", ALARMS: bounded(scores.unshifted), kept: number(1.0)}]
    return rows + [
        {"": each.shift, ALARMS: bounded(each.false_alarms), kept: bounded(each.ap_kept)} for each in scores.shifts
    ]


def worst_shifts(result: Result) -> str:
    """A sentence that names the worst shifts; "" if the result has no shifted scans."""
    scores, parts = result.robustness, []
    if scores is not None and scores.worst_shift is not None:
        alarms = number(scores.worst_false_alarms)
        parts.append(f"{heading_of('robustness.worst_false_alarms')} {alarms} ({scores.worst_shift})")
    if scores is not None and scores.least_shift is not None:
        parts.append(f"{heading_of('robustness.least_ap_kept')} {number(scores.least_ap_kept)} ({scores.least_shift})")
    return "; ".join(parts)


def bias_rows(result: Result) -> list[dict[str, str]]:
    """One row per third of the ages and per sex; none if the result has no bias audit."""
    scores = result.bias
    if scores is None:
        return []
    labels = {"age": "age {}", "sex": "sex {}"}
    return [
        {
            "": labels[group.by].format(group.value),
            "participants": str(group.participants),
            ALARMS: bounded(group.false_alarms),
        }
        for group in scores.groups
    ]


def bias_tests(result: Result) -> str:
    """A sentence with the p-values of the bias audit; "" if there are none."""
    scores = result.bias
    if scores is None:
        return ""
    return (
        f"Trend over age: p = {number(scores.p_age)} (permutation). Women against men: p = {number(scores.p_sex)} "
        "(Fisher's exact test). Not adjusted for two tests."
    )


def robustness_exhibits(result: Result) -> list[Exhibit]:
    """Exhibits of domain shift and of the bias audit, if the result has them."""
    exhibits = []
    if rows := shift_rows(result):
        worst = worst_shifts(result)
        caption = f"{explained('robustness.shifts.false_alarms', 'robustness.shifts.ap_kept')} {worst}".strip()
        exhibits.append(Exhibit("shifts", "Domain shift", caption, of_paper=False, table=pd.DataFrame(rows)))
    if rows := bias_rows(result):
        caption = f"{explained('bias.groups.false_alarms')} {bias_tests(result)}"
        title = "False alarms by age and sex"
        exhibits.append(Exhibit("bias", title, caption, of_paper=False, table=pd.DataFrame(rows)))
    return exhibits
