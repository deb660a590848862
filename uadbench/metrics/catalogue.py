"""Lookup in the metric catalogue, whose entries are in `score_columns` and `result_numbers`."""

from __future__ import annotations

from functools import cache

from uadbench.metrics.metric import Metric
from uadbench.metrics.result_numbers import BOARD, COST, DETECTION, HEADLINE, ROBUSTNESS
from uadbench.metrics.score_columns import SCORES

METRICS = SCORES + HEADLINE + DETECTION + ROBUSTNESS + COST + BOARD
"""All metrics of the catalogue."""


@cache
def metric_of(name: str) -> Metric:
    """Look up a metric.

    Args:
        name: A column of the scores (`ap.standard`, `dice.fpr0.01`, `restoration.whole.mse`), or a path in a result
            without list indices (`headline.ap_standard`, `detection.testsets.auroc`).

    Returns:
        The entry; the placeholders of a family of metrics are replaced.

    Raises:
        KeyError: If the catalogue has no such metric.
    """
    for metric in METRICS:
        match = metric.matched(name)
        if match is not None:
            return match
    raise KeyError(f"{name} is not in uadbench.metrics.catalogue")


def heading_of(name: str) -> str:
    """The column heading of a metric.

    Args:
        name: As in `metric_of`.

    Returns:
        The heading.

    Raises:
        KeyError: If the catalogue has no such metric.
    """
    return metric_of(name).heading


def explained(*names: str) -> str:
    """Labels with explanations, for a note below a table.

    Args:
        *names: As in `metric_of`.

    Returns:
        The explanations, each a sentence.

    Raises:
        KeyError: If the catalogue has no such metric.
    """
    return " ".join(metric_of(name).explained for name in names)
