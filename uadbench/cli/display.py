"""What the terminal shows: progress bars or plain lines, and tables of results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.table import Table
from rich.text import Text

from uadbench.progress import Task

if TYPE_CHECKING:
    from uadbench.results import Result
    from uadbench.statistics import Interval

PLAIN_EVERY_S = 10.0
HEALTHINESS = ("healthiness.healthy", "healthiness.altered", "healthiness.from_altered")
BOUNDS = ("prevalence", "ap.ceiling")
"""Between which an average precision lies: chance, and the true reduction after the same smoothing."""


class TerminalProgress:
    """Rich bars with the time left on a terminal; a plain line every few seconds elsewhere. To stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=True)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Show one piece of work."""
        if not self.console.is_terminal:
            yield _PlainTask(self.console, label, total)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with RichBars(*columns, console=self.console) as bars:
            yield _BarTask(bars, escape(label), total)

    def notice(self, text: str) -> None:
        """One line, quietly."""
        self.console.print(escape(text), style="dim")

    def warning(self, text: str) -> None:
        """One line, in yellow."""
        self.console.print(f"warning: {escape(text)}", style="yellow")


class _BarTask:
    def __init__(self, bars: RichBars, label: str, total: int) -> None:
        self.bars = bars
        self.id = bars.add_task(label, total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.bars.update(self.id, advance=steps)
        if note:
            self.bars.update(self.id, note=escape(note))


class _PlainTask:
    def __init__(self, console: Console, label: str, total: int) -> None:
        self.console, self.label, self.total = console, label, total
        self.done = 0
        self.started = self.told = time.monotonic()
        console.print(f"{escape(label)}: 0 of {total}", highlight=False)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if self.done < self.total and now - self.told < PLAIN_EVERY_S:
            return
        self.told = now
        tail = f", {note}" if note else ""
        line = f"{self.label}: {self.done} of {self.total} after {now - self.started:.0f} s{tail}"
        self.console.print(escape(line), highlight=False)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; n/a where it is undefined."""
    return "n/a" if value is None else f"{value:#.{digits}g}".rstrip(".")


def models_table(results: Sequence[Result], intervals: Sequence[Interval]) -> Group:
    """One row a result, with the interval of its ranking AP: localisation first, then restoration, then cost."""
    first = results[0]
    severities = [s for s in (0.1, 0.2, 0.3, 0.5) if s in severities_of(first)] or severities_of(first)[:1]
    at = min(severities, key=lambda s: abs(s - 0.3))
    table = Table()
    table.add_column("model", no_wrap=True)
    table.add_column("ranking AP\nstandard", justify="right", style="bold")
    table.add_column("\n95 %", justify="right", no_wrap=True)
    table.add_column("\nnative", justify="right")
    for severity in severities:
        table.add_column(f"AP\n{severity:.0%}", justify="right")
    for heading in ("healthy\nMSE x̂,x", f"MSE x̂',x\nat {at:.0%}", f"SSIM x̂',x̂\nat {at:.0%}", "train\ns", "ms\na scan"):
        table.add_column(heading, justify="right")
    # cells of one model that differ by fold or seed are told apart only where there are several
    several = len({(r.fold, r.seed) for r in results}) > 1
    pairs = zip(results, intervals, strict=True)
    for result, interval in sorted(pairs, key=lambda pair: -(pair[0].headline.ap_standard or 0.0)):
        per_scan = result.cost.inference_seconds_per_scan
        table.add_row(
            escape(result.model.name + (f" f{result.fold} s{result.seed}" if several else "")),
            number(result.headline.ap_standard),
            "n/a" if interval.low is None else f"{interval.low:.3f}-{interval.high:.3f}",
            number(result.headline.ap_native),
            *(number(over_dementias(result, severity, "ap.standard")) for severity in severities),
            number(result.headline.healthy_mse),
            number(over_dementias(result, at, "restoration.whole.mse")),
            number(over_dementias(result, at, "consistency.whole.ssim"), 4),
            f"{result.cost.train_seconds:.0f}",
            "n/a" if per_scan is None else f"{1000 * per_scan:.1f}",
        )
    cohort, protocol = first.cohort, first.protocol
    cases = f"{cohort.test} test scans x {len(anomalies_of(first))} dementias x {len(severities_of(first))} severities"
    heading = (
        f"{cohort.name} (version {cohort.version}), protocol {protocol.name}: {cohort.train} training scans, {cases}"
    )
    ranked = ", ".join(f"{severity:.0%}" for severity in first.headline.severities)
    notes = [
        "AP: voxelwise average precision of the standard map, mean over test scans and dementias; by chance "
        f"{number(first.headline.prevalence)}. Ranking AP: its mean over severities {ranked}; 95 %: bootstrap over "
        "participants.",
        "x: healthy scan, x': altered, x̂ and x̂': their reconstructions. Lower MSE(x̂', x) is better restored.",
    ]
    if not all(result.protocol.ranked for result in results):
        notes.append("Unranked: the protocol was changed from what ships with uadbench.")
    return Group("", escape(heading), table, *(Text(note, style="dim") for note in notes))


def restoration_table(results: Sequence[Result]) -> Group:
    """What every reconstructing model gives back, spoils and keeps, at the severity nearest 30 %; else nothing."""
    if not any(result.model.reconstructs for result in results):
        return Group()
    at = min(severities_of(results[0]), key=lambda severity: abs(severity - 0.3))
    table = Table("model", "recovered", "damage", "identified", "healthiness x", "x'", "x̂'", "correlation")
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        if result.model.reconstructs:
            names = ("recovered", "damage", "identified", *HEALTHINESS, "correlation.standard")
            values = (over_dementias(result, at, name) for name in names)
            table.add_row(escape(result.model.name), *map(number, values))
    note = (
        "Recovered: share of the lost uptake that x̂' gives back. Damage: squared error outside, in variances between "
        "healthy people. Identified: x̂' nearest to its own x. Healthiness: uptake in the mask / outside; x̂' should "
        "have x's. Correlation: standard map and true reduction."
    )
    return Group("", f"restoration at {at:.0%}, mean over dementias", table, Text(note, style="dim"))


def severity_table(result: Result) -> Group:
    """Average precision of one result: a row a dementia, a column a severity, chance at the end."""
    severities = severities_of(result)
    table = Table("dementia")
    for severity in severities:
        table.add_column(f"{severity:.0%}", justify="right")
    table.add_column("chance", justify="right", style="dim")
    table.add_column("ceiling", justify="right", style="dim")
    for anomaly in anomalies_of(result):
        scores = (number(result.metric(anomaly, severity, "ap.standard")) for severity in severities)
        table.add_row(anomaly, *scores, *(number(result.metric(anomaly, severities[0], bound)) for bound in BOUNDS))
    heading = f"{result.model.name}: average precision of the standard map by severity"
    note = (
        "Chance is the prevalence: the truth's share of the voxels that count. Ceiling: the true reduction, smoothed."
    )
    return Group("", escape(heading), table, Text(note, style="dim"))


def anomalies_of(result: Result) -> list[str]:
    """The anomalies of a result, in its order."""
    return list(dict.fromkeys(scored.anomaly for scored in result.scores if scored.anomaly != "healthy"))


def severities_of(result: Result) -> list[float]:
    """The severities of a result, rising."""
    return sorted({scored.severity for scored in result.scores if scored.anomaly != "healthy"})


def over_dementias(result: Result, severity: float, metric: str) -> float | None:
    """The mean over dementias of a metric at one severity; None if it is n/a."""
    anomalies = [s.anomaly for s in result.scores if s.anomaly != "healthy" and s.severity == severity]
    values = [result.metric(anomaly, severity, metric) for anomaly in anomalies]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def whereabouts(folder: Path, uri: str | None) -> list[str]:
    """Where everything of a run lies, and how to look at it."""
    lines = [
        f"result      {folder / 'result.json'}",
        f"scores      {folder / 'scores.parquet'}   (one row a case)",
        f"checkpoint  {folder / 'model.safetensors'}",
        f"figures     {folder / 'figures'}",
    ]
    if uri is not None:
        look = f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite") else f"open {uri}"
        lines.append(f"MLflow      {uri}   look: {look}")
    return lines
