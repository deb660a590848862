"""Time limits for work in the main thread, and durations as text."""

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
"""Seconds between attempts to interrupt code that continues after the first."""

GRACE_S = 60.0
"""Seconds beyond the limit after which a process is ended if it executes non-Python code that cannot be interrupted."""

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _TimeIsUp(BaseException):
    """Raised at the time limit; not an Exception, so that code that catches errors does not catch it."""


def seconds_of(option: str, text: str) -> float:
    """Parse a duration.

    Args:
        option: The option that the text comes from, for the error message.
        text: The duration, such as `90s`, `30m`, `4h` or `2d`.

    Returns:
        The duration in seconds.

    Raises:
        InputError: For any other text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"{option} {text}: give a time such as 90s, 30m, 4h or 2d")
    return float(match[1]) * UNITS[match[2]]


def interruptible() -> bool:
    """Whether work can be interrupted: only in the main thread, on systems with timers."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


@contextmanager
def interrupted(seconds: float, error: Callable[[], BaseException]) -> Iterator[None]:
    """Raise an error in work that exceeds a time limit, and again every `AGAIN_S` seconds.

    If work cannot be interrupted (see `interruptible`), there is no limit.

    Args:
        seconds: The limit.
        error: A function that makes the error.
    """
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
    """Interrupt work that exceeds a time limit; only in the main thread, which receives signals.

    If non-Python code does not return within another minute, `stuck` is called and the process exits with code 3.

    Args:
        seconds: The limit.
        stuck: A function to call before the process exits.

    Raises:
        Unfinished: If the work exceeds the limit.
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
        raise Unfinished(f"took longer than the {duration_text(seconds)} that --time-limit grants") from None
    finally:
        watchdog.cancel()


def duration_text(seconds: float) -> str:
    """Format a duration in a suitable unit.

    Args:
        seconds: The duration in seconds.

    Returns:
        Text such as 45 s, 12 min, 3.5 h or 6 d.
    """
    for unit, size in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if seconds < {"s": 100, "min": 100 * 60, "h": 100 * 3600}[unit]:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 and value != round(value) else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
