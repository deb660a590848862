"""The command itself: how long it takes to say what it can do, and what `run` costs beyond the model."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uadbench.timing import MODEL

UADBENCH = Path(sys.executable).with_name("uadbench")


@pytest.mark.parametrize("arguments", [("--help",), ("list", "models")])
def test_listing(arguments: tuple[str, ...], versus) -> None:
    def seconds() -> float:
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([UADBENCH, *arguments], check=True, capture_output=True)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    versus.at_most(f"uadbench {' '.join(arguments)}", "a number", 0.5, seconds, "s")


@pytest.mark.slow
def test_run(versus, tmp_path: Path) -> None:
    """Warm: the cohort is in the cache, as the first command leaves it."""
    everything = ["--output", str(tmp_path), "--json", "--profile"]
    subprocess.run([UADBENCH, "run", "--model", "mean", *everything], check=True, capture_output=True)
    started = time.perf_counter()
    done = subprocess.run([UADBENCH, "run", "--model", "vae3d", *everything], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    phases = json.loads(done.stdout)["profile"]
    model = sum(phases[name] for name in MODEL)
    work = "uadbench run --model vae3d, quick, warm"
    versus.at_most(work, "its training steps and forward passes", 1.3, lambda: seconds / model)
    versus.note(f"{work}, all of it", "a number", 180, seconds, limit=True, unit="s")
