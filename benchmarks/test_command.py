"""The command itself: how long it takes to say what it can do, and what `run` costs beyond the model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uadbench.runtime.profiling import MODEL

UADBENCH = Path(sys.executable).with_name("uadbench")


@pytest.mark.parametrize("arguments", [("--help",), ("list", "models")])
def test_listing(arguments: tuple[str, ...], versus) -> None:
    def ours() -> None:
        subprocess.run([UADBENCH, *arguments], check=True, capture_output=True)

    def baseline() -> None:
        subprocess.run([sys.executable, "-c", "import torch"], check=True, capture_output=True)

    versus(f"uadbench {' '.join(arguments)}", "python -c 'import torch'", 4, ours, baseline)


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
    versus.note(work, "its training steps and forward passes", 1.3, seconds / model, seconds=seconds, limit=True)
