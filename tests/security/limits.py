"""How much a reader may take: processor time and memory, whatever the file says."""

from __future__ import annotations

import resource
import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

GIB = 1 << 30
STEPS = 50_000_000
"""Of Python: so long a reader may compute, which takes a few seconds of processor time on any machine of today."""


class Hang(BaseException):
    """Not an Exception: no reader takes it for a fault of its file."""


@cache
def seconds_a_step() -> float:
    """Of processor time, here: a loop of Python that adds, once around."""
    started, found = time.process_time(), 0
    for number in range(1_000_000):
        found += number
    return (time.process_time() - started) / 1_000_000


@contextmanager
def processor_time(steps: float = STEPS) -> Iterator[None]:
    """Raises Hang when this process has computed for longer, however slow the machine is, and however busy."""
    seconds = steps * seconds_a_step()

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Hang(f"{seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def address_space(more: int = 2 * GIB) -> Iterator[None]:
    """Raises MemoryError where this process would map more than so many bytes beyond what it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Peak:
    """The most bytes that Python and numpy held at once inside `measured`."""

    bytes = 0


@contextmanager
def measured() -> Iterator[Peak]:
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def confine(more: int = 2 * GIB) -> None:
    """Let this process, which is about to run one command, map no more than so many bytes beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
