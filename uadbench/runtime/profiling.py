"""Where the time goes: named phases of the main thread, each counted without the phases inside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

MODEL = ("training steps", "validation passes", "test passes")
"""The phases in which a model computes; all else is what the harness costs."""


class Clock:
    """Seconds by phase, in the order in which phases first began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside as `name`, until a phase within it begins."""
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
"""That of this process. Only the main thread may open phases."""

phase = clock.phase


def share_in_model(seconds: dict[str, float]) -> float:
    """What part of the time a model computed."""
    total = sum(seconds.values())
    return sum(seconds.get(name, 0.0) for name in MODEL) / total if total else 0.0
