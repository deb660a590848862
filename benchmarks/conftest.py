"""Ours and a named baseline by turns in one run: the ratio of their medians against a target.

`pytest benchmarks --benchmark-only` prints the table. A ratio below 0.7 of its target (`--least`) is a failure; between
that and the target it is noise, or this machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@dataclass(frozen=True)
class Row:
    """What was measured of one piece of work; `limit` says that a number must stay below its target, not above."""

    work: str
    against: str
    target: float
    measured: float
    seconds: float | None
    limit: bool
    unit: str

    def passes(self, least: float) -> bool:
        """Whether it is near enough to the target."""
        return self.measured <= self.target / least if self.limit else self.measured >= least * self.target


ROWS: list[Row] = []


class Versus:
    """Times two functions by turns; what is measured goes to the table, and a ratio that is too low fails."""

    def __init__(self, benchmark: BenchmarkFixture, least: float) -> None:
        self.benchmark = benchmark
        self.least = least

    def __call__(
        self,
        work: str,
        against: str,
        target: float,
        ours: Callable[[], object],
        baseline: Callable[[], object],
        *,
        rounds: int = 5,
        scale: float = 1.0,
    ) -> None:
        """Baseline over ours, medians; `scale` is how much more of the work ours does than the baseline."""
        found: list[float] = []

        def before() -> None:
            started = time.perf_counter()
            baseline()
            found.append(scale * (time.perf_counter() - started))

        ours()  # compiled, and its caches filled
        self.benchmark.pedantic(ours, setup=before, rounds=rounds, iterations=1)
        seconds = self.benchmark.stats.stats.median
        self.note(work, against, target, statistics.median(found) / seconds, seconds=seconds)

    def at_most(self, work: str, against: str, target: float, ours: Callable[[], float], unit: str = "x") -> None:
        """A number that `ours` measures itself, which must not exceed its target."""
        measured = float(self.benchmark.pedantic(ours, rounds=1, iterations=1))
        self.note(work, against, target, measured, limit=True, unit=unit)

    def note(
        self,
        work: str,
        against: str,
        target: float,
        measured: float,
        *,
        seconds: float | None = None,
        limit: bool = False,
        unit: str = "x",
    ) -> None:
        """Keep a row, and fail where it is too far from its target."""
        row = Row(work, against, target, measured, seconds, limit, unit)
        ROWS.append(row)
        self.benchmark.extra_info.update(measured=row.measured, target=row.target)
        assert row.passes(self.least), f"{row.work}: {row.measured:.2f} {row.unit}, target {row.target:g} {row.unit}"


@pytest.fixture
def versus(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Versus:
    return Versus(benchmark, request.config.getoption("--least"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--least", type=float, default=0.7, help="the share of its target below which a ratio fails")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("| work | against | target | measured | ours |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for row in ROWS:
        sign = "at most " if row.limit else ""
        seconds = "" if row.seconds is None else f"{1000 * row.seconds:.4g} ms"
        runs = (row.work, row.against, f"{sign}{row.target:g} {row.unit}", f"{row.measured:.3g} {row.unit}", seconds)
        terminalreporter.write_line("| " + " | ".join(runs) + " |")
