"""All test sets of vae3d: how much longer than the model's own forward passes, and in how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "evaluation_worker.py"


def evaluate(grid: str, scans: int, dementias: int = 6) -> dict[str, float]:
    command = [sys.executable, str(WORKER), grid, str(scans), str(dementias)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(("grid", "shape", "scans"), [("paper", "80 x 96 x 80", 3), ("quick", "40 x 48 x 40", 12)])
def test_evaluation_against_forward_passes(grid: str, shape: str, scans: int, versus) -> None:
    def ratio() -> float:
        found = evaluate(grid, scans)
        return found["evaluation_s"] / found["forward_s"]

    versus.at_most(f"evaluation of vae3d over all test sets, {shape}", "its forward passes alone", 1.5, ratio)


def test_memory_of_evaluation(versus) -> None:
    found: list[dict[str, float]] = []

    def gib() -> float:
        found[:] = [evaluate("paper", 2), evaluate("paper", 5), evaluate("paper", 2, dementias=2)]
        return max(each["memory_mib"] for each in found) / 1024

    versus.at_most("memory of evaluation, 80 x 96 x 80 (anonymous)", "a number", 2.5, gib, "GiB")
    few, many, small = (each["memory_mib"] for each in found)
    assert many < 1.1 * few, "memory grows with test scans"
    assert few < 1.1 * small, "memory grows with test sets"
