"""An end for work that does not end by itself."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from uadbench.errors import InputError, Unfinished

AGAIN_S = 5.0
"""Between two attempts to interrupt code that goes on after the first."""

GRACE_S = 60.0
"""How long code may stay outside of Python, where it cannot be interrupted, beyond the limit."""

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _TimeIsUp(BaseException):
    """Passes through whatever catches errors."""


def seconds_of(option: str, text: str) -> float:
    """`90s`, `30m`, `4h` or `2d` in seconds.

    Raises:
        InputError: For anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if found is None or float(found[1]) <= 0:
        raise InputError(f"{option} {text}: give a time such as 90s, 30m, 4h or 2d")
    return float(found[1]) * UNITS[found[2]]


def interruptible() -> bool:
    """Whether work can be interrupted here: in the main thread alone, and where there are timers."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


@contextmanager
def interrupted(seconds: float, error: Callable[[], BaseException]) -> Iterator[None]:
    """Raise `error()` inside of what takes longer, and again every `AGAIN_S`; does nothing where it cannot."""
    if not interruptible():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise error()

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@contextmanager
def time_limit(seconds: float, stuck: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Interrupt what takes longer; only in the main thread, where there are signals.

    Code that does not return to Python for another minute cannot be interrupted: `stuck` is called, and the process
    ends with exit code 3.

    Raises:
        Unfinished: At the limit.
    """
    if not interruptible():
        yield
        return

    def give_up() -> None:
        try:
            stuck()
        finally:
            os._exit(Unfinished.exit_code)

    watchdog = threading.Timer(seconds + GRACE_S, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        with interrupted(seconds, _TimeIsUp):
            yield
    except _TimeIsUp:
        raise Unfinished(f"took longer than the {told(seconds)} that --time-limit grants") from None
    finally:
        watchdog.cancel()


def told(seconds: float) -> str:
    """A time in the unit that suits it: 45 s, 12 min, 3.5 h, 6 d."""
    for unit, size in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if seconds < {"s": 100, "min": 100 * 60, "h": 100 * 3600}[unit]:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 and value != round(value) else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
