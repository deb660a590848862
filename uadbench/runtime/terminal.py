"""What a terminal or a notebook shows of work under way: bars with the time left, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Column

from uadbench.runtime.progress import Task
from uadbench.runtime.text import plain

PLAIN_EVERY_S = 10.0
BAR_WIDTH = 16


class Terminal(Console):
    """A console that escapes control characters in text; everything that the command line prints goes through it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield segments with escaped text; colours and cursor movements of Rich itself are kept."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text, keep="\n"))


class TerminalProgress:
    """Progress on stderr: bars with the time left on a terminal, and a plain line every few seconds elsewhere."""

    def __init__(self) -> None:
        self.console = Terminal(stderr=True, soft_wrap=True)
        self._bars: RichBars | None = None

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Show the progress of one task; tasks inside it get bars below its own."""
        if not self.console.is_terminal:
            yield _PlainTask(self.console, label, total)
            return
        if self._bars is not None:
            task = _BarTask(self._bars, escape(label), total)
            try:
                yield task
            finally:
                self._bars.remove_task(task.id)
            return
        columns = (
            TextColumn("{task.description}", table_column=_wrapped()),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", table_column=_wrapped()),
        )
        with RichBars(*columns, console=self.console) as bars:
            self._bars = bars
            try:
                yield _BarTask(bars, escape(label), total)
            finally:
                self._bars = None

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show on a terminal what the program is doing until it is done; elsewhere show nothing.

        Args:
            text: What it is doing; no task may be started meanwhile.
        """
        if not self.console.is_terminal:
            yield
            return
        spinner = Spinner("line", escape(f"{text} ..."))
        with Live(spinner, console=self.console, transient=True):  # unlike `Console.status`, it is drawn at once
            yield

    def notice(self, text: str) -> None:
        """Print one dimmed line."""
        self.console.print(escape(text), style="dim")

    def warning(self, text: str) -> None:
        """Print one yellow line."""
        self.console.print(f"warning: {escape(text)}", style="yellow")


def _wrapped() -> Column:
    """A column of text that wraps if the numbers beside it need the space."""
    return Column(no_wrap=False, overflow="fold")


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
        self.started = self.printed = time.monotonic()
        console.print(f"{escape(label)}: 0 of {total}", highlight=False)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if self.done < self.total and now - self.printed < PLAIN_EVERY_S:
            return
        self.printed = now
        tail = f", {note}" if note else ""
        line = f"{self.label}: {self.done} of {self.total} after {now - self.started:.0f} s{tail}"
        self.console.print(escape(line), highlight=False)
