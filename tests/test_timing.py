"""Phases of time: each without what is inside it, and the same total."""

from __future__ import annotations

import time

import pytest

from uadbench.timing import Clock, share_in_model


def test_a_phase_is_counted_without_the_phases_inside_it() -> None:
    clock = Clock()
    started = time.perf_counter()
    with clock.phase("measures"):
        time.sleep(0.02)
        for _ in range(2):
            with clock.phase("test passes"):
                time.sleep(0.03)
    total = time.perf_counter() - started
    assert sum(clock.seconds.values()) == pytest.approx(total, abs=0.005)
    assert 0.02 <= clock.seconds["measures"] < 0.035
    assert clock.seconds["test passes"] >= 0.06
    assert list(clock.seconds) == ["measures", "test passes"]


def test_time_between_phases_is_nobodys() -> None:
    clock = Clock()
    with clock.phase("start"):
        pass
    time.sleep(0.05)
    with clock.phase("scans"):
        pass
    assert sum(clock.seconds.values()) < 0.01


def test_a_phase_that_fails_is_closed() -> None:
    clock = Clock()
    with pytest.raises(KeyError), clock.phase("training steps"):
        raise KeyError
    with clock.phase("scans"):
        time.sleep(0.02)
    assert clock.seconds["training steps"] < 0.01 < clock.seconds["scans"]


def test_the_share_of_the_model() -> None:
    assert share_in_model({"training steps": 3.0, "measures": 1.0}) == 0.75
    assert share_in_model({}) == 0.0
