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
from uadbench.material import Selection, plan_material
from uadbench.models.given_weights import GivenWeights
from uadbench.progress import Progress
from uadbench.protocol import Protocol
from uadbench.report.figures import FIGURES, draw_figures
from uadbench.timing import phase
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
    selection: Selection | None = None,
    weights: GivenWeights | None = None,
) -> Iterator[Cell]:
    """The cells of models x folds x seeds; those of a fold share its scans.

    `options` maps a model's name, as given in `models` or as registered, to what the user set. Who there is, and who
    trains and tests, is told for the first fold. `weights` are evaluated instead of any that a training would give.
    """
    for fold in folds:
        material = plan_material(cohort, protocol, fold, progress, selection)
        for line in material.summary() if fold == folds[0] else ():
            progress.notice(line)
        for name in models:
            for seed in seeds:
                yield Cell(name, material, seed, options.get(name, {}), weights)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU.

    Raises InputError for a device that torch does not know or this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"--device {name}: {reason}") from None
    return device


def _make_repeatable() -> None:
    """Choose the kernels that give the same numbers twice, where a GPU offers faster ones that do not."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


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
    _make_repeatable()
    sweep = Sweep()
    for cell in cells:
        if cell.state(output) != "done" or fresh:
            with phase("scans"):
                cell.material.scans("train")  # outside of the net below: a bad scan is bad for every model
                _tell_leaks(cell, progress)
        try:
            outcome = run_cell(cell, output, device, progress, fresh)
        except Exception as error:  # a model may be anybody's code, and the other cells must go on
            if len(cells) == 1:
                raise
            sweep.failures[f"{cell.name}, fold {cell.material.fold}, seed {cell.seed}"] = _reason(error)
            progress.warning(f"{cell.name}: {_reason(error)}")
            continue
        sweep.outcomes.append(outcome)
        on_result(outcome)
        _tell_cost(outcome, progress)
        if not outcome.reused or not (outcome.folder / FIGURES).is_dir():
            with phase("figures"):
                _draw(outcome, progress)
        if tracker is not None:
            with phase("MLflow"):
                _track(outcome, tracker, sweep, progress)
    if tracker is not None and not sweep.untracked:
        try:
            tracker.close("FAILED" if sweep.failures else "FINISHED")
        except Unfinished as error:
            progress.warning(str(error))
    return sweep


def _tell_leaks(cell: Cell, progress: Progress) -> None:
    if shared := cell.material.shared_images:
        progress.warning(
            f"{shared} test scans are, voxel by voxel, scans that the model learns from: scores will be too good; "
            "'uadbench cohort check' names them"
        )


def _tell_cost(outcome: Outcome, progress: Progress) -> None:
    cost = outcome.result.cost
    if cost.over_budget:
        progress.warning(
            f"{outcome.result.model.name}: took {cost.cpu_minutes:.3g} processor minutes, more than the "
            f"{cost.budget_minutes:g} that a cell of {outcome.result.protocol.name} may cost; its result is marked"
        )


def _draw(outcome: Outcome, progress: Progress) -> None:
    try:
        draw_figures(outcome.result, outcome.folder)
    except (OSError, ValueError, KeyError) as error:  # a picture is no reason to lose the cells that follow
        progress.warning(f"{outcome.folder}: figures could not be drawn ({_reason(error)})")


def _track(outcome: Outcome, tracker: Tracker, sweep: Sweep, progress: Progress) -> None:
    """Log to MLflow; after the first failure its patience is not tried again."""
    if tracker.has(outcome.result, outcome.folder):
        return
    if not sweep.untracked:
        try:
            tracker.log(outcome.result, outcome.folder)
            return
        except Unfinished as error:
            later = f"uadbench track {outcome.folder} --tracking-uri {tracker.uri}"
            progress.warning(f"{error}; the scores are safe, log them later with '{later}'")
    sweep.untracked.append(outcome.folder)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UadbenchError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
