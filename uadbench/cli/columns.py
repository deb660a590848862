"""`uadbench show columns`: what every number in tables, pages and files means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uadbench.metrics.catalogue import METRICS
from uadbench.metrics.metric import placeholder_rows
from uadbench.metrics.result_numbers import BOARD, COST, DETECTION, HEADLINE
from uadbench.metrics.score_columns import SCORES

if TYPE_CHECKING:
    from uadbench.metrics.metric import Metric

GROUPS = {
    "columns of scores.parquet, and names in 'scores' of result.json": SCORES,
    "headline, as in result.json": HEADLINE,
    "detection, as in result.json": DETECTION,
    "cost, as in result.json": COST,
    "leaderboard": BOARD,
}


def print_columns(as_json: bool) -> None:
    """Print the catalogue: for people as one list a group, for programs as JSON."""
    if as_json:
        print(json.dumps([metric.to_json() for metric in METRICS], indent=2, ensure_ascii=False))
        return
    from rich.text import Text

    from uadbench.cli.fitting import facts, terminal

    console = terminal()
    for title, metrics in GROUPS.items():
        console.print(Text(f"{title}\n", style="bold"))
        console.print(facts([(metric.name, _text(metric)) for metric in metrics]))
    console.print(Text("words in < >\n", style="bold"))
    console.print(facts(list(placeholder_rows())))


def _text(metric: Metric) -> str:
    """Label, heading where it is another one, meaning, direction, range and unit."""
    called = metric.label if metric.heading in metric.label else f"{metric.label} ('{metric.heading}')"
    return f"{called}. {metric.description}"
