"""A committed row trained and evaluated again: does it come out the same, and does it hold on other people?"""

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
    """What came of a committed run.

    `changes` stand beside the committed values; a metric that moved either way is no reproduction. On another
    population there are none, and `holds` tells whether the new ranking AP lies where the committed one's interval is.
    """

    entry: Entry
    result: Result
    changes: tuple[Change, ...]
    holds: bool

    @property
    def moved(self) -> list[Change]:
        """Metrics that are not the same."""
        return [change for change in self.changes if change.verdict not in ("same",)]


def rerun(
    entry: Entry, siblings: list[Entry], root: Path, output: Path, device: torch.device, progress: Progress
) -> Rerun:
    """Train and evaluate a committed run again, from its committed protocol, options, fold and seed.

    `siblings` are the committed runs of the same row, which tell how far seeds move a metric.

    Raises:
        InputError: If the cohort is private, or its version is not to be had any more.
    """
    result = _run(entry, entry.result.cohort.name, root, output, device, progress)
    if reason := incomparable(result, entry.result):
        raise InputError(f"{entry.file}: the rerun cannot be compared: {reason}")
    found = changes(result, [entry.result])
    allowed = {metric.name: tolerance([s.result for s in siblings], metric) for metric in metrics_of(entry.result)}
    widened = tuple(_judged(change, allowed.get(change.metric)) for change in found)
    return Rerun(entry, result, widened, holds=all(change.verdict == "same" for change in widened))


def rerun_elsewhere(
    entry: Entry, seed: int, root: Path, output: Path, device: torch.device, progress: Progress
) -> Rerun:
    """The same on a phantom population of another seed, to which nobody can have tuned.

    It holds if the new ranking AP and the committed one have intervals that meet.
    """
    require_runnable(entry, elsewhere=True)
    result = _run(entry, f"phantom:seed={seed}", root, output, device, progress)
    there, here = entry.result.headline.ap_interval, result.headline.ap_interval
    meet = there is not None and here is not None and there[0] <= here[1] and here[0] <= there[1]
    return Rerun(entry, result, (), holds=meet)


def require_runnable(entry: Entry, elsewhere: bool = False) -> None:
    """Refuse a run that cannot be run again here, before any is.

    Args:
        entry: The committed run.
        elsewhere: Whether it is to be run on another population of the phantom.

    Raises:
        InputError: For answers in files, a private cohort, an unknown model, or one whose extra is missing.
    """
    from uadbench import registry
    from uadbench.models.extras import require_extra

    committed = entry.result
    name = committed.model.name
    if committed.model.answers is not None:
        raise InputError(f"{entry.file}: {name} answered in files; it cannot be run again from here")
    if elsewhere and committed.cohort.name != "phantom":
        raise InputError(f"{entry.file}: only results on the phantom can be tried on another population")
    if not committed.cohort.public:
        raise InputError(f"{entry.file}: cohort {committed.cohort.name} is private; only its owner can run it again")
    if name not in registry.models.names():
        raise InputError(f"{entry.file}: no model is called {name}; install the package that has it")
    require_extra(str(getattr(registry.models.get(name), "extra", "")), name)


def keep(reruns: list[Rerun], root: Path) -> None:
    """Write which committed results were reproduced, and by how much their ranking AP moved."""
    known: dict[str, Any] = read_reproduced(root)
    for each in reruns:
        if each.changes:
            known.pop(each.entry.result.score_hash, None)
        if each.changes and each.holds:
            first = each.changes[0]
            moved = None if first.result is None or first.baseline is None else first.result - first.baseline
            known[each.entry.result.score_hash] = {
                "result": each.entry.file.relative_to(root).as_posix(),
                "difference": None if moved is None else float(f"{moved:.3g}"),
                "tolerance": None if first.tolerance is None else float(f"{first.tolerance:.3g}"),
                "device": each.result.provenance.device,
                "uadbench": each.result.provenance.uadbench,
            }
    write_json(root / REPRODUCED, dict(sorted(known.items(), key=lambda item: item[1]["result"])))


def _run(entry: Entry, cohort: str, root: Path, output: Path, device: torch.device, progress: Progress) -> Result:
    """One run as committed, on a cohort; its result as it would be committed."""
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
            f"{entry.file}: different cohorts: {cohort} is version {source.version} here, and not "
            f"{committed.cohort.version}; use an older uadbench"
        )
    fold_data = plan_fold(source, protocol, committed.fold, progress, roles)
    run = Run(committed.model.name, fold_data, committed.seed, committed.model.options)
    output = output / "reruns"  # whoever says --output runs has other uses for what lies there
    (run.folder(output) / RESULT).unlink(missing_ok=True)  # what was begun may go on, what was finished is no rerun
    if run.state(output) == "trained":
        shutil.rmtree(run.folder(output))
    outcome = complete(run, output, device, progress)
    return recomputed(outcome.result, slim(read_scores(outcome.folder)), protocol)


def _judged(change: Change, allowed: float | None) -> Change:
    """A change beside the larger of two tolerances."""
    if change.baseline is None or change.result is None or change.tolerance is None:
        return change
    wide = max(change.tolerance, allowed or 0.0)
    gained = (change.result - change.baseline) * (1 if change.higher_is_better else -1)
    verdict = "same" if abs(gained) <= wide else "better" if gained > 0 else "worse"
    return Change(change.metric, change.higher_is_better, change.baseline, change.result, wide, verdict)


def to_json(each: Rerun) -> dict[str, Any]:
    """A rerun for programs."""
    told = {"file": str(each.entry.file), "holds": each.holds, "changes": [vars(change) for change in each.changes]}
    return told | {"ap_standard": each.result.headline.ap_standard, "interval": each.result.headline.ap_interval}
