"""Phases of time: each without what is inside it, and the same total."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from uadbench.runtime.profiling import Clock, share_in_model


class Time:
    """It passes when it is bid to."""

    now = 1000.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time that clocks see."""
    seen = Time()
    monkeypatch.setattr("uadbench.runtime.profiling.time", SimpleNamespace(perf_counter=lambda: seen.now))
    return seen


def test_a_phase_is_counted_without_the_phases_inside_it(time: Time) -> None:
    clock = Clock()
    with clock.phase("measures"):
        time.passes(2)
        for _ in range(2):
            with clock.phase("test passes"):
                time.passes(3)
            time.passes(1)
    assert list(clock.seconds.items()) == [("measures", 4), ("test passes", 6)]


def test_time_between_phases_is_nobodys(time: Time) -> None:
    clock = Clock()
    for name in ("start", "scans"):
        time.passes(5)
        with clock.phase(name):
            pass
    assert clock.seconds == {"start": 0, "scans": 0}


def test_a_phase_that_fails_is_closed(time: Time) -> None:
    clock = Clock()
    with pytest.raises(KeyError), clock.phase("training steps"):
        time.passes(1)
        raise KeyError
    with clock.phase("scans"):
        time.passes(2)
    assert clock.seconds == {"training steps": 1, "scans": 2}


def test_the_share_of_the_model() -> None:
    assert share_in_model({"training steps": 3.0, "measures": 1.0}) == 0.75
    assert share_in_model({}) == 0.0
