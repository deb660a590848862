"""The catalogue of every number that uadbench scores or shows: tables, pages, checks and the schema use it."""

from __future__ import annotations

from functools import cache

from uadbench.metrics.metric import Metric
from uadbench.metrics.result_numbers import BOARD, COST, DETECTION, HEADLINE
from uadbench.metrics.score_columns import SCORES

METRICS = SCORES + HEADLINE + DETECTION + COST + BOARD
"""Everything in the catalogue."""


@cache
def metric_of(name: str) -> Metric:
    """What is known of one number.

    Args:
        name: A column of scores (`ap.standard`, `dice.fpr0.01`, `restoration.whole.mse`), or a path in a result
            without places in lists (`headline.ap_standard`, `detection.testsets.auroc`).

    Returns:
        The entry, with the placeholders of a family filled in.

    Raises:
        KeyError: The catalogue has no such number.
    """
    for metric in METRICS:
        found = metric.matched(name)
        if found is not None:
            return found
    raise KeyError(f"{name} is not in uadbench.metrics.catalogue")


def heading_of(name: str) -> str:
    """What a number is called at the head of a column.

    Raises:
        KeyError: As `metric_of` does.
    """
    return metric_of(name).heading


def explained(*names: str) -> str:
    """Labels with their meanings, for a note below a table.

    Raises:
        KeyError: As `metric_of` does.
    """
    return " ".join(metric_of(name).explained for name in names)
