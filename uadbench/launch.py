"""Many cells, one after the other in this process; each result is on disk before the next begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from uadbench.allocator import keep_freed_memory
from uadbench.cells import Cell, Outcome, run_cell
from uadbench.cohorts.base import Cohort
from uadbench.errors import InputError, UadbenchError, Unfinished
from uadbench.material import plan_material
from uadbench.progress import Progress
from uadbench.protocol import Protocol
from uadbench.report.figures import draw_figures
from uadbench.tracking import Tracker


@dataclass
class Sweep:
    """What came of a list of cells."""

    outcomes: list[Outcome] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Cell -> why it has no result."""
    untracked: list[Path] = field(default_factory=list)
    """Run folders that MLflow did not take."""


def plan_cells(
    cohort: Cohort,
    protocol: Protocol,
    models: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    folds: Sequence[int],
    seeds: Sequence[int],
    progress: Progress,
) -> Iterator[Cell]:
    """The cells of models x folds x seeds; those of a fold share its scans.

    `options` maps a model's name, as given in `models` or as registered, to what the user set.
    """
    for fold in folds:
        material = plan_material(cohort, protocol, fold, progress)
        for name in models:
            for seed in seeds:
                yield Cell(name, material, seed, options.get(name, {}))


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU.

    Raises InputError for a device that torch does not know or this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"--device {name}: {reason}") from None
    return device


def run_cells(
    cells: Sequence[Cell],
    output: Path,
    device: torch.device,
    tracker: Tracker | None,
    progress: Progress,
    *,
    fresh: bool = False,
    on_result: Callable[[Outcome], None] = lambda outcome: None,
) -> Sweep:
    """Run every cell; one that fails is recorded, and the others go on.

    A single cell that fails raises, so that its error is the command's.
    """
    keep_freed_memory()
    sweep = Sweep()
    away = False
    for cell in cells:
        try:
            outcome = run_cell(cell, output, device, progress, fresh)
        except Exception as error:  # a model may be anybody's code, and the other cells must go on
            if len(cells) == 1:
                raise
            sweep.failures[f"{cell.name}, fold {cell.material.fold}, seed {cell.seed}"] = _reason(error)
            progress.warning(_reason(error))
            continue
        figures = draw_figures(outcome.result, outcome.folder)
        sweep.outcomes.append(outcome)
        on_result(outcome)
        if tracker is not None and not tracker.has(outcome.result, outcome.folder):
            if away:  # its patience is not tried a second time
                sweep.untracked.append(outcome.folder)
                continue
            try:
                tracker.log(outcome.result, outcome.folder, figures)
            except Unfinished as error:
                progress.warning(f"{error}; the scores are safe, log them later with 'uadbench track {outcome.folder}'")
                sweep.untracked.append(outcome.folder)
                away = True
    if tracker is not None and not away:
        try:
            tracker.close()
        except Unfinished as error:
            progress.warning(str(error))
    return sweep


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UadbenchError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
