"""`uadbench show columns`: explanations of every number in tables, pages and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uadbench.metrics.catalogue import METRICS
from uadbench.metrics.metric import placeholder_rows
from uadbench.metrics.result_numbers import BOARD, COST, DETECTION, HEADLINE, ROBUSTNESS
from uadbench.metrics.score_columns import SCORES

if TYPE_CHECKING:
    from uadbench.metrics.metric import Metric

GROUPS = {
    "columns of scores.parquet, and names in 'scores' of result.json": SCORES,
    "headline, as in result.json": HEADLINE,
    "detection, as in result.json": DETECTION,
    "robustness and bias, as in result.json": ROBUSTNESS,
    "cost, as in result.json": COST,
    "leaderboard": BOARD,
}


def print_columns(as_json: bool) -> None:
    """Print the catalogue of numbers.

    Args:
        as_json: Whether to print JSON instead of lists.
    """
    if as_json:
        print(json.dumps([metric.to_json() for metric in METRICS], indent=2, ensure_ascii=False))
        return
    from rich.text import Text

    from uadbench.cli.fitting import label_table, terminal

    console = terminal()
    for title, metrics in GROUPS.items():
        console.print(Text(f"{title}\n", style="bold"))
        console.print(label_table([(metric.name, _text(metric)) for metric in metrics]))
    console.print(Text("placeholders in < >\n", style="bold"))
    console.print(label_table(list(placeholder_rows())))


def _text(metric: Metric) -> str:
    """Label, heading if it differs, meaning, direction, range and unit."""
    name = metric.label if metric.heading in metric.label else f"{metric.label} ('{metric.heading}')"
    return f"{name}. {metric.description}"
