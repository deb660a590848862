"""A result beside its baseline, for the terminal and for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.leaderboard.tolerance import Change
from uadbench.results.schema import Result
from uadbench.runtime.plurals import counted
from uadbench.runtime.text import in_markdown

MARKS = {"worse": "worse", "gone": "gone", "better": "better", "same": "same", "new": "new"}


def summary(result: Result, baselines: int, found: Sequence[Change]) -> str:
    """How many metrics are how, in one line."""
    counts = {verdict: sum(change.verdict == verdict for change in found) for verdict in MARKS}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return (
        f"{result.model.name}, protocol {result.protocol.name}: {told} (baseline of {counted(baselines, 'training')})"
    )


def print_changes(result: Result, baselines: int, found: Sequence[Change]) -> None:
    """What moved, metric by metric."""
    from uadbench.cli.fitting import Column, Fitted, terminal

    console = terminal()
    console.print(summary(result, baselines, found), markup=False)
    moved = [change for change in found if change.verdict != "same"]
    if not moved:
        return
    table = Fitted(Column("metric", "prose"), "baseline", "result", "tolerance", Column("verdict", "name"))
    for change in moved:
        style = {"worse": "red", "gone": "red", "better": "green"}.get(change.verdict, "")
        table.add_row(*_runs(change), style=style)
    console.print(table)


def markdown_table(result: Result, baselines: int, found: Sequence[Change]) -> str:
    """All metrics, those that moved first."""
    order = list(MARKS)
    lines = [
        f"**{in_markdown(summary(result, baselines, found))}**",
        "",
        "| metric | baseline | result | tolerance | |",
    ]
    lines.append("|---|---|---|---|---|")
    for change in sorted(found, key=lambda change: order.index(change.verdict)):
        lines.append(f"| {' | '.join(map(in_markdown, _runs(change)))} |")
    return "\n".join(lines)


def _runs(change: Change) -> list[str]:
    arrow = "" if change.higher_is_better else " (lower is better)"
    numbers = (change.baseline, change.result, change.tolerance)
    return [change.metric + arrow, *("n/a" if n is None else f"{n:.4g}" for n in numbers), change.verdict]
