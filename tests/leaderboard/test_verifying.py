"""Results checked side by side: the faults that one process finds, in the order of the files, whoever is killed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.leaderboard.builder import commit_text, made_up, the
from uadbench.leaderboard import verifying
from uadbench.leaderboard.entries import result_files
from uadbench.leaderboard.verifying import faults_of
from uadbench.runtime.progress import Silent


class Counting(Silent):
    """Progress that counts, and may kill a process when the first result is known."""

    def __init__(self, kills: bool = False) -> None:
        self.kills = kills
        self.done: list[int] = []
        self.total = 0

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Counting]:
        self.total = total
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done.append(steps)
        if self.kills and len(self.done) == 1:
            children = multiprocessing.active_children()
            assert len(children) == 2
            for child in children:
                child.kill()


@pytest.fixture
def mixed(root, mean) -> Path:
    """Two sound results, one that is no JSON, and several whose aggregates are those of another."""
    for seed in range(3):
        made_up(root, mean, "net", 0.01, seed=seed, sound=False)
    commit_text(root, made_up(root, mean, "aaa", sound=False), "{")
    return root


@pytest.mark.slow
def test_side_by_side_as_one_by_one_and_with_a_process_that_is_killed(mixed, monkeypatch) -> None:
    told = Counting()
    expected = faults_of(mixed, told)
    assert len(told.done) == told.total == 6
    broken = [file for file in result_files(mixed) if file.parent.name in ("aaa", "net")]
    assert [fault.partition(": ")[0] for fault in expected] == [str(file) for file in broken]
    assert "not a readable JSON file" in expected[0] and "its cases give" in expected[1]
    monkeypatch.setattr(verifying, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(verifying, "_cores", lambda: 2)
    killing = Counting(kills=True)
    assert faults_of(mixed, killing) == expected
    assert len(killing.done) == 6, "each is told of once"


def test_few_results_are_checked_in_this_process(root, monkeypatch) -> None:
    monkeypatch.setattr(verifying, "_cores", lambda: 16)
    monkeypatch.setattr(verifying, "_side_by_side", None)
    the(root, "zscore").file.write_text("{")
    assert len(faults_of(root, Silent())) == 1
