"""`uadbench run --dry-run`: the state and estimated cost of the runs of a sweep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uadbench.launch.backend import Backend, workers_of
from uadbench.launch.estimates import Estimate, Estimator
from uadbench.runs.failures import recorded
from uadbench.runs.keys import Run
from uadbench.runtime.plurals import counted
from uadbench.runtime.timeouts import duration_text

BOARD = Path("leaderboard")


def print_plan(runs: Sequence[Run], output: Path, backend: Backend | None, fresh: bool, as_json: bool) -> None:
    """Print the state, remaining cost and folder of every run, and the total.

    Args:
        runs: The runs.
        output: Folder for results.
        backend: Which workers to use; None for this process.
        fresh: Whether all runs start again, whatever exists.
        as_json: Whether to print JSON instead of a table.
    """
    estimator = Estimator(output, BOARD)
    rows: list[tuple[Run, str, Estimate, str]] = []
    for run in runs:
        state = "to do" if fresh else run.state(output)
        failure = recorded(run.folder(output)) if state == "failed" else None
        rows.append((run, state, estimator.of(run, state), "" if failure is None else failure.error))
    if as_json:
        print(json.dumps([_plain(output, *row) for row in rows], indent=2))
        return
    from uadbench.cli.fitting import Column, Fitted, terminal

    words = (Column("state", "prose"), Column("time left", "name"), Column("folder", "name"))
    table = Fitted(Column("model", "name"), "fold", "seed", *words, title=counted(len(rows), "run"))
    for run, state, estimate, error in rows:
        cost = "" if state == "done" else "unknown" if estimate.seconds is None else duration_text(estimate.seconds)
        why = f"{state}: {error}" if error else state
        names = (str(run.fold_data.fold), str(run.seed), why, cost, str(run.folder(output)))
        table.add_row(run.name, *names)
    console = terminal()
    console.print(table)
    states = [state for _, state, _, _ in rows]
    workers = 1  # the size of an existing cluster is unknown
    if backend is not None and backend.scheduler is None:
        workers = min(workers_of(backend), max(1, len(states) - states.count("done")))
    for line in _together(states, [estimate for _, _, estimate, _ in rows], workers):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _together(states: Sequence[str], estimates: Sequence[Estimate], workers: int) -> list[str]:
    """Number of runs by state, time that the rest takes, and the basis of that estimate."""
    counts = Counter(states)
    lines = [", ".join(f"{counts[s]} {s}" for s in ("done", "trained", "begun", "failed", "to do") if counts[s])]
    estimated = [estimate for estimate in estimates if estimate.seconds is not None]
    total = sum(estimate.seconds or 0.0 for estimate in estimated)
    if total:
        share = "" if workers == 1 else f" or {duration_text(total / workers)} on {workers}"
        bases = "; ".join(sorted({estimate.basis for estimate in estimated if estimate.basis}))
        lines.append(f"about {duration_text(total)} on one worker{share}, estimated from runs under {bases}")
    if unknown := len(estimates) - len(estimated):
        which = f"the cost of {unknown} of them" if total else "their cost"
        lines.append(f"{which} is unknown: no earlier results of these models")
    return lines


def _plain(output: Path, run: Run, state: str, estimate: Estimate, error: str) -> dict[str, Any]:
    return {
        "model": run.name,
        "fold": run.fold_data.fold,
        "seed": run.seed,
        "state": state,
        "seconds": estimate.seconds,
        "basis": estimate.basis,
        "error": error,
        "folder": str(run.folder(output)),
    }
