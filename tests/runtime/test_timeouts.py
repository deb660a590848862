"""Times as users write and read them, and the end of what does not end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from uadbench.errors import InputError, Unfinished
from uadbench.runtime.timeouts import duration_text, seconds_of, time_limit


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), (" 4 h", 14400)]
)
def test_times_that_are_written(text: str, seconds: float) -> None:
    assert seconds_of("--time-limit", text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "0s", "1w", "1h30m", "nan s"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"--time-limit .*: give a time such as 90s"):
        seconds_of("--time-limit", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (8, "8 s"), (45, "45 s"), (720, "12 min"), (150, "2.5 min"), (12600, "3.5 h"), (864000, "10 d")],
)
def test_times_that_are_read(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_what_ends_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0) and signal.getsignal(signal.SIGALRM) is before


def test_an_error_of_its_own_is_passed_on() -> None:
    with pytest.raises(KeyError), time_limit(60):
        raise KeyError("x")


def test_what_takes_longer_is_unfinished() -> None:
    with pytest.raises(Unfinished, match=r"took longer than the 0\.1 s"), time_limit(0.1):
        time.sleep(60)


def test_another_thread_has_no_alarm() -> None:
    ended = []

    def work() -> None:
        with time_limit(0.05):
            time.sleep(0.2)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended


def test_what_cannot_be_interrupted_ends_the_process() -> None:
    code = (
        "import signal, time\nfrom uadbench.runtime import timeouts as timelimit\n"
        "timelimit.GRACE_S = 0.2\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"  # as code that never returns to Python
        "with timelimit.time_limit(0.1, lambda: print('stuck', flush=True)):\n"
        "    time.sleep(600)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout == "stuck\n"
