"""What a clone costs: the tracked files, and each committed result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST_TREE = 32 << 20
LARGEST_RESULT = 600_000
"""Bytes of one committed result under protocol quick, with its cases."""


def test_the_tracked_tree_is_small() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in listed.decode().split("\0") if name]
    size = sum(file.lstat().st_size for file in files if file.exists())
    largest = sorted(((file.stat().st_size, str(file)) for file in files if file.exists()), reverse=True)[:5]
    assert size < LARGEST_TREE, largest


def test_committed_results_are_small() -> None:
    for folder in (ROOT / "leaderboard", ROOT / "benchmarks" / "baselines"):
        results = sorted((folder / "results").rglob("*.json"))
        assert results
        for file in results:
            assert file.stat().st_size + file.with_suffix(".parquet").stat().st_size < LARGEST_RESULT, file
