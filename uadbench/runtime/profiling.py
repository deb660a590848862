"""Profiling of the main thread by named phases, each measured without its nested phases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

MODEL = ("training steps", "validation passes", "test passes")
"""The phases in which a model computes; all other phases are overhead of uadbench."""


class Clock:
    """Measures the time spent in each phase.

    Attributes:
        seconds: The time by phase, in seconds, in the order in which the phases first started.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the time within the context, except in nested phases.

        Args:
            name: The name of the phase.
        """
        self._count()
        self.seconds.setdefault(name, 0.0)
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


clock = Clock()
"""The clock of this process; only the main thread may start phases."""

phase = clock.phase


def share_in_model(seconds: dict[str, float]) -> float:
    """The share of time in which a model computed.

    Args:
        seconds: The time by phase.

    Returns:
        The share, 0 to 1; 0 if no time was measured.
    """
    total = sum(seconds.values())
    return sum(seconds.get(name, 0.0) for name in MODEL) / total if total else 0.0
