"""Reruns of committed results: train and evaluate again, on the same or another population, and compare."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uadbench.errors import InputError
from uadbench.leaderboard.boards import REPRODUCED, read_reproduced
from uadbench.leaderboard.checks import protocol_of, recomputed
from uadbench.leaderboard.entries import Entry, slim
from uadbench.leaderboard.tolerance import Change, changes, incomparable, metrics_of, tolerance
from uadbench.results.schema import RESULT, Result
from uadbench.runtime.files import write_json
from uadbench.runtime.progress import Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rerun:
    """Outcome of a rerun.

    Attributes:
        entry: The committed result.
        result: The result of the rerun.
        changes: Every metric beside its committed value; empty on another population.
        holds: Whether all metrics agree within their tolerance; on another population, whether the intervals of the
            two ranking APs overlap.
    """

    entry: Entry
    result: Result
    changes: tuple[Change, ...]
    holds: bool

    @property
    def moved(self) -> list[Change]:
        """Metrics outside their tolerance."""
        return [change for change in self.changes if change.verdict != "same"]


def rerun(
    entry: Entry, siblings: list[Entry], root: Path, output: Path, device: torch.device, progress: Progress
) -> Rerun:
    """Train and evaluate a committed run again, with its committed protocol, options, fold and seed.

    Args:
        entry: The committed result.
        siblings: The committed results of the same row; their spread sets the tolerances.
        root: The leaderboard folder.
        output: Folder for the new run.
        device: Device to compute on.
        progress: Receives progress reports.

    Returns:
        The outcome, with all metrics compared.

    Raises:
        InputError: If the cohort is private, or its version is no longer available.
    """
    result = _run(entry, entry.result.cohort.name, root, output, device, progress)
    if reason := incomparable(result, entry.result):
        raise InputError(f"{entry.file}: the rerun cannot be compared: {reason}")
    moved = changes(result, [entry.result])
    allowed = {metric.name: tolerance([s.result for s in siblings], metric) for metric in metrics_of(entry.result)}
    widened = tuple(_judged(change, allowed.get(change.metric)) for change in moved)
    return Rerun(entry, result, widened, holds=all(change.verdict == "same" for change in widened))


def rerun_elsewhere(
    entry: Entry, seed: int, root: Path, output: Path, device: torch.device, progress: Progress
) -> Rerun:
    """Train and evaluate a committed run on a phantom population of another seed, to which no model was tuned.

    Args:
        entry: The committed result.
        seed: Seed of the phantom population.
        root: The leaderboard folder.
        output: Folder for the new run.
        device: Device to compute on.
        progress: Receives progress reports.

    Returns:
        The outcome; it holds if the intervals of the new and the committed ranking AP overlap.

    Raises:
        InputError: If the result cannot be run again here (see `require_runnable`).
    """
    require_runnable(entry, elsewhere=True)
    result = _run(entry, f"phantom:seed={seed}", root, output, device, progress)
    old, new = entry.result.headline.ap_interval, result.headline.ap_interval
    overlap = old is not None and new is not None and old[0] <= new[1] and new[0] <= old[1]
    return Rerun(entry, result, (), holds=overlap)


def require_runnable(entry: Entry, elsewhere: bool = False) -> None:
    """Refuse a committed result that cannot be run again here, before any rerun starts.

    Args:
        entry: The committed result.
        elsewhere: Whether the rerun uses another phantom population.

    Raises:
        InputError: If a tool answered in files, the cohort is private, the model is unknown, or its extra is missing.
    """
    from uadbench import registry
    from uadbench.models.extras import require_extra

    committed = entry.result
    name = committed.model.name
    if committed.model.answers is not None:
        raise InputError(f"{entry.file}: {name} answered in files, so uadbench cannot run it again")
    if elsewhere and committed.cohort.name != "phantom":
        raise InputError(f"{entry.file}: only results on the phantom can be rerun on another population")
    if not committed.cohort.public:
        raise InputError(f"{entry.file}: cohort {committed.cohort.name} is private; only its owner can run it again")
    if name not in registry.models.names():
        raise InputError(f"{entry.file}: no model named {name}; install the package that provides it")
    require_extra(str(getattr(registry.models.get(name), "extra", "")), name)


def keep(reruns: list[Rerun], root: Path) -> None:
    """Record which committed results were reproduced, and by how much their ranking AP changed.

    Args:
        reruns: The outcomes; those on another population are ignored.
        root: The leaderboard folder.
    """
    reproduced: dict[str, Any] = read_reproduced(root)
    for each in reruns:
        if each.changes:
            reproduced.pop(each.entry.result.score_hash, None)
        if each.changes and each.holds:
            first = each.changes[0]
            moved = None if first.result is None or first.baseline is None else first.result - first.baseline
            reproduced[each.entry.result.score_hash] = {
                "result": each.entry.file.relative_to(root).as_posix(),
                "difference": None if moved is None else float(f"{moved:.3g}"),
                "tolerance": None if first.tolerance is None else float(f"{first.tolerance:.3g}"),
                "device": each.result.provenance.device,
                "uadbench": each.result.provenance.uadbench,
            }
    write_json(root / REPRODUCED, dict(sorted(reproduced.items(), key=lambda item: item[1]["result"])))


def _run(entry: Entry, cohort: str, root: Path, output: Path, device: torch.device, progress: Progress) -> Result:
    """Run a committed configuration on a cohort; returns the result in its committed form."""
    from uadbench.cohorts.opening import open_cohort
    from uadbench.results.scores import read_scores
    from uadbench.runs.fold_data import Selection, plan_fold
    from uadbench.runs.keys import Run
    from uadbench.runs.run import complete

    committed = entry.result
    require_runnable(entry)
    protocol = protocol_of(root, committed)
    tested = None if committed.cohort.tested_on is None else open_cohort(committed.cohort.tested_on)
    roles = Selection(tuple(committed.cohort.healthy), tuple(committed.cohort.ill), test_cohort=tested)
    source = open_cohort(cohort)
    if source.version != committed.cohort.version:
        raise InputError(
            f"{entry.file}: different cohorts: {cohort} has version {source.version} here, not "
            f"{committed.cohort.version}; use the uadbench version that made the result"
        )
    fold_data = plan_fold(source, protocol, committed.fold, progress, roles)
    run = Run(committed.model.name, fold_data, committed.seed, committed.model.options)
    output = output / "reruns"  # so that `--output runs` does not touch other runs in that folder
    (run.folder(output) / RESULT).unlink(missing_ok=True)  # resume an unfinished rerun, but repeat a finished one
    if run.state(output) == "trained":
        shutil.rmtree(run.folder(output))
    outcome = complete(run, output, device, progress)
    return recomputed(outcome.result, slim(read_scores(outcome.folder)), protocol)


def _judged(change: Change, allowed: float | None) -> Change:
    """The change, judged by the larger of its own and the given tolerance."""
    if change.baseline is None or change.result is None or change.tolerance is None:
        return change
    widest = max(change.tolerance, allowed or 0.0)
    gained = (change.result - change.baseline) * (1 if change.higher_is_better else -1)
    verdict = "same" if abs(gained) <= widest else "better" if gained > 0 else "worse"
    return Change(change.metric, change.higher_is_better, change.baseline, change.result, widest, verdict)


def to_json(each: Rerun) -> dict[str, Any]:
    """The outcome of a rerun as JSON values."""
    return {
        "file": str(each.entry.file),
        "holds": each.holds,
        "changes": [vars(change) for change in each.changes],
        "ap_standard": each.result.headline.ap_standard,
        "interval": each.result.headline.ap_interval,
    }
