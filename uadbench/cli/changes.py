"""The comparison of a result with its baseline, printed for the terminal and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.leaderboard.tolerance import Change
from uadbench.results.schema import Result
from uadbench.runtime.plurals import counted
from uadbench.runtime.text import in_markdown

MARKS = {"worse": "worse", "gone": "gone", "better": "better", "same": "same", "new": "new"}


def summary(result: Result, baselines: int, compared: Sequence[Change]) -> str:
    """Count the metrics by verdict, in one line.

    Args:
        result: The result.
        baselines: Number of baselines.
        compared: The comparison of every metric.

    Returns:
        The line.
    """
    counts = {verdict: sum(change.verdict == verdict for change in compared) for verdict in MARKS}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    trainings = counted(baselines, "training")
    return f"{result.model.name}, protocol {result.protocol.name}: {verdicts} (baseline of {trainings})"


def print_changes(result: Result, baselines: int, compared: Sequence[Change]) -> None:
    """Print the metrics that changed.

    Args:
        result: The result.
        baselines: Number of baselines.
        compared: The comparison of every metric.
    """
    from uadbench.cli.fitting import Column, Fitted, terminal

    console = terminal()
    console.print(summary(result, baselines, compared), markup=False)
    moved = [change for change in compared if change.verdict != "same"]
    if not moved:
        return
    table = Fitted(Column("metric", "prose"), "baseline", "result", "tolerance", Column("verdict", "name"))
    for change in moved:
        style = {"worse": "red", "gone": "red", "better": "green"}.get(change.verdict, "")
        table.add_row(*_cells(change), style=style)
    console.print(table)


def markdown_table(result: Result, baselines: int, compared: Sequence[Change]) -> str:
    """Format all metrics as a Markdown table, changed metrics first.

    Args:
        result: The result.
        baselines: Number of baselines.
        compared: The comparison of every metric.

    Returns:
        The text.
    """
    order = list(MARKS)
    lines = [
        f"**{in_markdown(summary(result, baselines, compared))}**",
        "",
        "| metric | baseline | result | tolerance | |",
    ]
    lines.append("|---|---|---|---|---|")
    for change in sorted(compared, key=lambda change: order.index(change.verdict)):
        lines.append(f"| {' | '.join(map(in_markdown, _cells(change)))} |")
    return "\n".join(lines)


def _cells(change: Change) -> list[str]:
    arrow = "" if change.higher_is_better else " (lower is better)"
    numbers = (change.baseline, change.result, change.tolerance)
    return [change.metric + arrow, *("n/a" if n is None else f"{n:.4g}" for n in numbers), change.verdict]
