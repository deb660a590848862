"""The reference of every number that uadbench computes, from the metric catalogue."""

from __future__ import annotations

from markdown_text import code, escaped, table

from uadbench.cli.columns import GROUPS
from uadbench.metrics.metric import Metric, placeholder_rows


def columns_page() -> str:
    """A table per group of the catalogue, and the placeholders in names."""
    parts = []
    for title, metrics in GROUPS.items():
        headings = ["name", "label", "meaning", "better", "range", "unit", "source", "computed by"]
        parts += [f"## {title[0].upper()}{escaped(title[1:])}", table(headings, map(_row, metrics))]
    parts.append("## Placeholders in names")
    parts.append(table(["placeholder", "values"], [[code(name), escaped(text)] for name, text in placeholder_rows()]))
    return "\n\n".join(parts) + "\n"


def _row(metric: Metric) -> list[str]:
    label = metric.label if metric.heading in metric.label else f"{metric.label} ({metric.heading})"
    words = [escaped(text) for text in (label, metric.help, metric.better, metric.range, metric.unit, metric.source)]
    return [code(metric.name), *words, code(metric.computed.removeprefix("uadbench."))]
