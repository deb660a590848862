"""The progress interface by which lower layers report long tasks and warnings, independent of the display."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A task in progress."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report completed steps.

        Args:
            steps: The number of steps completed since the last call.
            note: A short text to show beside the progress bar.
        """


class Progress(Protocol):
    """A display of progress and messages: a rich display, plain lines, or none."""

    def task(self, label: str, total: int) -> AbstractContextManager[Task]:
        """Start a task.

        Args:
            label: The description of the task.
            total: The number of steps.

        Returns:
            A context manager that yields the task.
        """

    def notice(self, text: str) -> None:
        """Show a line of information.

        Args:
            text: The line.
        """

    def warning(self, text: str) -> None:
        """Show a line about a problem that does not stop the work.

        Args:
            text: The line.
        """


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""


class Silent:
    """A progress display that shows nothing."""

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Start a task without a display.

        Args:
            label: The description of the task, which is not shown.
            total: The number of steps.

        Yields:
            The task.
        """
        yield _SilentTask()

    def notice(self, text: str) -> None:
        """Show nothing.

        Args:
            text: The line.
        """

    def warning(self, text: str) -> None:
        """Show nothing.

        Args:
            text: The line.
        """
