"""Handling of signals: the first raises an exception, so that the command can clean up; the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from uadbench.errors import Stopped

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopRequest(KeyboardInterrupt):
    """Request to stop the command; code that catches `Exception` does not catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise StopRequest in the main thread for the first signal; ignored signals, as under nohup, stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        raise StopRequest(number)

    for number, handler in former.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def stopped(request: KeyboardInterrupt, advice: str = "") -> Stopped:
    """Create the error for a stopped command.

    Args:
        request: The exception that stopped it.
        advice: Text to append to the message.

    Returns:
        The error, with the exit code of the signal.
    """
    number = request.number if isinstance(request, StopRequest) else signal.SIGINT
    return Stopped(f"stopped by {signal.Signals(number).name}{advice}", number)
