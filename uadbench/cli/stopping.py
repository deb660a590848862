"""Signals that stop a command: the first is an exception, so that all is tidied up; the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from uadbench.errors import Stopped

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopRequest(KeyboardInterrupt):
    """Somebody wants the command to end; passes through whatever catches errors."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise StopRequest, in the main thread, for the first signal; those that are ignored, as under nohup, stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # given again, it does not wait for anything
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
    """The error that tells of a request, with what to do."""
    number = request.number if isinstance(request, StopRequest) else signal.SIGINT
    return Stopped(f"stopped by {signal.Signals(number).name}{advice}", number)
