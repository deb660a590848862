"""Progress of functions called from Python: bars on a terminal or in a notebook, and messages through `logging`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from uadbench.runtime.progress import Silent, Task
from uadbench.runtime.terminal import TerminalProgress

logger = logging.getLogger("uadbench")


class LoggedProgress:
    """Messages go to the logger "uadbench"; work under way is shown as bars where `bars` is set.

    Args:
        bars: Show bars, on standard error or in the output of a notebook's cell.
    """

    def __init__(self, bars: bool = True) -> None:
        self._bars = TerminalProgress() if bars else Silent()

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Open a piece of work of `total` steps."""
        with self._bars.task(label, total) as task:
            yield task

    def notice(self, text: str) -> None:
        """Log a message at level INFO."""
        logger.info(text)

    def warning(self, text: str) -> None:
        """Log a message at level WARNING."""
        logger.warning(text)
