"""Two workers against one, each of one thread: `python benchmarks/workers.py FOLDER [--runs 12]`.

The same sweep of vae3d runs under `smoke`, a hundred epochs each, three times: in one process without Dask, on one
worker, on two. A warm-up fills the cache and compiles. The score hashes of all three must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SWEEP = ["uadbench", "run", "--model", "vae3d", "--protocol", "smoke", "--set", "protocol.training.epochs=100"]
WAYS = {"no cluster": [], "1 worker": ["--launcher", "dask", "--workers", "1", "--threads", "1"]}
WAYS["2 workers"] = [*WAYS["1 worker"][:3], "2", *WAYS["1 worker"][4:]]


def sweep(folder: Path, runs: int, more: list[str]) -> tuple[float, list[str]]:
    """Seconds of the command, and the score hashes in the order of the seeds."""
    seeds = ",".join(map(str, range(runs)))
    command = [*SWEEP, "--seed", seeds, "--output", str(folder), "--tracking-uri", "none", "--json", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, [found["result"]["score_hash"] for found in json.loads(done.stdout)["results"]]


def main() -> None:
    """Print seconds and the speed-up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=12)
    given = parser.parse_args()
    sweep(given.folder / "warm-up", 1, [])
    taken, hashes = {}, {}
    for name, more in WAYS.items():
        taken[name], hashes[name] = sweep(given.folder / name.replace(" ", "-"), given.runs, more)
        print(f"{name:10}  {taken[name]:6.1f} s  {given.runs} runs", flush=True)
    same = len({tuple(told) for told in hashes.values()}) == 1
    print(f"2 workers are {taken['1 worker'] / taken['2 workers']:.2f} times as fast as 1; equal scores: {same}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
