"""The reference of every number that uadbench computes, from the metric catalogue."""

from __future__ import annotations

from markdown_text import code, escaped, table

from uadbench.cli.columns import GROUPS
from uadbench.metrics.metric import Metric, placeholder_rows


def columns_page() -> str:
    """A table per group of the catalogue, and the placeholders in names."""
    parts = []
    for title, metrics in GROUPS.items():
        headings = ["name", "meaning", "better", "range", "source and function"]
        parts += [f"## {title[0].upper()}{escaped(title[1:])}", table(headings, map(_row, metrics))]
    parts.append("## Placeholders in names")
    parts.append(table(["placeholder", "values"], [[code(name), escaped(text)] for name, text in placeholder_rows()]))
    return "\n\n".join(parts) + "\n"


def _row(metric: Metric) -> list[str]:
    label = metric.label if metric.heading in metric.label else f"{metric.label} ({metric.heading})"
    unit = f", in {metric.unit}" if metric.unit else ""
    source = f"{escaped(metric.source)}; " if metric.source else ""
    return [
        code(metric.name),
        f"**{escaped(label)}**: {escaped(metric.help)}",
        metric.better,
        escaped(f"{metric.range}{unit}"),
        source + code(metric.computed.removeprefix("uadbench.")),
    ]
