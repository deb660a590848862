"""The table `attempt -> outcome`: what a stranger's folder tries, what came of it before, and what comes of it now."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.conftest import ENDED, OUTCOME, seen, told

ATTEMPT, BEFORE = "attempt", "before"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "attempt(text, before): what a stranger's folder tries, and what came of it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marker = item.get_closest_marker(ATTEMPT)
    if marker is not None and (report.when == "call" or not report.passed):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        attempt, before = marker.args
        report.user_properties += [(ATTEMPT, attempt.format(**parameters)), (BEFORE, before)]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ENDED for each in terminalreporter.getreports(kind) if told(each, ATTEMPT)]
    if not reports:
        return
    table = Table("attempt", "before", "now", show_lines=True)
    for report in sorted(reports, key=lambda report: report.location[:2]):
        table.add_row(told(report, ATTEMPT), told(report, BEFORE), seen(report))
    printed = io.StringIO()
    Console(file=printed, width=max(140, shutil.get_terminal_size().columns), markup=False).print(table)
    terminalreporter.section("attempt -> outcome")
    terminalreporter.write(printed.getvalue())


@pytest.fixture
def outcome(record_property) -> Callable[[str], None]:
    """Say what was seen, for the table."""
    return lambda text: record_property(OUTCOME, text)
