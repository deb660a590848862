"""Real results for the tests of the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.builder import committed_folder, copy_of, run_folder, the
from uadbench.leaderboard import checks
from uadbench.leaderboard.entries import Entry


@pytest.fixture(scope="session")
def mean_run(fold_data, tmp_path_factory) -> Path:
    return run_folder("mean", fold_data, tmp_path_factory)


@pytest.fixture(scope="session")
def committed(fold_data, tmp_path_factory) -> Path:
    """A leaderboard folder with `mean` and `zscore`, to be read only."""
    return committed_folder(fold_data, tmp_path_factory)


@pytest.fixture(scope="session")
def mean(committed) -> Entry:
    return the(committed, "mean")


@pytest.fixture
def root(committed, tmp_path) -> Path:
    """A copy of the leaderboard folder with `mean` and `zscore`."""
    return copy_of(committed, tmp_path / "leaderboard")


@pytest.fixture(scope="session")
def aggregates(committed, mean) -> dict[str, Any]:
    """What follows from the real cases."""
    again = checks.recomputed(mean.result, mean.scores(), checks.protocol_of(committed, mean.result))
    return {name: getattr(again, name) for name in (*checks.DERIVED, "score_hash")}


@pytest.fixture
def computed_once(aggregates, monkeypatch) -> None:
    """To compute the same from the same cases for every claim would take most of the time."""
    monkeypatch.setattr(checks, "recomputed", lambda result, *_: result.model_copy(update=aggregates))
