"""A clock that goes backwards."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from tests.faults.conftest import GAIN, hashes_of, run_of
from uadbench.results.schema import read_result
from uadbench.tracking import LOGGED

pytestmark = pytest.mark.slow

DAY_S = 86400.0


@pytest.mark.fault("the clock goes back by a day whenever it is looked at")
def test_backwards(undisturbed, database, call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome) -> None:
    steps, now = itertools.count(), time.time()
    monkeypatch.setattr(time, "time", lambda: now - DAY_S * next(steps))
    monkeypatch.setattr("uadbench.runs.keys.SAVE_EVERY_S", 0.0)
    options = ("--protocol", "smoke", "--output", tmp_path, "--tracking-uri", database)
    code, _, err = call("run", "--model", GAIN, "--model", "mean", *options)
    assert code == 0 and "warning" not in err, err
    assert time.time() < now - 2 * DAY_S, "nobody looked at the clock"
    expected = hashes_of(undisturbed)
    assert hashes_of(tmp_path) == {name: expected[name] for name in ("Gain", "mean")}
    for model in ("Gain", "mean"):
        cost = read_result(run_of(tmp_path, model)).cost.model_dump(exclude_none=True)
        assert min(cost.values()) >= 0, cost
        assert (run_of(tmp_path, model) / LOGGED).is_file()
    hashes = f"Gain {expected['Gain'][:8]}, mean {expected['mean'][:8]}"
    outcome(f"scores equal to an undisturbed run ({hashes}), no time below zero, logged to MLflow")
