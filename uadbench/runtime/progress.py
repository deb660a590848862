"""How lower layers tell of long work without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report that `steps` more are done; `note` is a short word beside the bar."""


class Progress(Protocol):
    """Where progress and notices go: a rich display, plain lines, or nowhere."""

    def task(self, label: str, total: int) -> AbstractContextManager[Task]:
        """Open a piece of work of `total` steps, as a context manager."""

    def notice(self, text: str) -> None:
        """One line that the user should see (nothing is wrong)."""

    def warning(self, text: str) -> None:
        """One line about something that went wrong without spoiling the work."""


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nobody is told."""


class Silent:
    """Progress that nobody watches."""

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """A task that tells nobody."""
        yield _SilentTask()

    def notice(self, text: str) -> None:
        """Nobody is told."""

    def warning(self, text: str) -> None:
        """Nobody is told."""
