"""All test sets of vae3d: how much longer than the model's own forward passes, and in how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "evaluation_worker.py"


def evaluate(**what: Any) -> dict[str, float]:
    command = [sys.executable, str(WORKER), json.dumps(what)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.mark.parametrize(
    ("protocol", "shape", "scans", "target"),
    # the network of `quick` has half of the width: 1.4 ms a scan, against which nothing else is small
    [("paper", "80 x 96 x 80", 3, 1.5), ("quick", "40 x 48 x 40, half the width", 12, 2.5)],
)
def test_evaluation_against_forward_passes(protocol: str, shape: str, scans: int, target: float, versus) -> None:
    def ratio() -> float:
        found = evaluate(protocol=protocol, scans=scans)
        return found["evaluation_s"] / found["forward_s"]

    versus.at_most(f"evaluation of vae3d over all test sets, {shape}", "its forward passes alone", target, ratio)


def test_memory_of_evaluation(versus) -> None:
    found: list[float] = []

    def memory(**what: Any) -> float:
        return evaluate(protocol="paper", **what)["memory_mib"]

    def gib() -> float:
        found[:] = [memory(scans=2), memory(scans=6)]
        return max(found) / 1024

    versus.at_most("memory of evaluation, 80 x 96 x 80 (mapped scans left out)", "a number", 2.5, gib, "GiB")
    some, many = found
    few = memory(scans=2, dementias=2, severities=3)
    if many >= 1.25 * some or some >= 1.15 * few:  # the allocator's heap itself varies by a fifth between equal runs
        again, other = memory(scans=2), memory(scans=2, dementias=2, severities=3)
        assert many < 1.25 * max(some, again), "memory grows with test scans"
        assert min(some, again) < 1.15 * max(few, other), "memory grows with test sets"
