"""What came of a list of runs: results, failures, and what MLflow was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from uadbench.cohorts.secrecy import require_same_secrets
from uadbench.errors import Unfinished
from uadbench.report.figures import FIGURES, draw_figures
from uadbench.runs import failures
from uadbench.runs.keys import Outcome, Run
from uadbench.runs.run import tidy
from uadbench.runtime.commands import command
from uadbench.runtime.profiling import phase
from uadbench.runtime.progress import Progress
from uadbench.tracking import Tracker


@dataclass
class Sweep:
    """Takes in runs as they end, in any order; MLflow is told here, and nowhere else."""

    output: Path
    tracker: Tracker | None
    progress: Progress
    on_result: Callable[[Outcome], None] = lambda outcome: None
    outcomes: list[Outcome] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Run -> why it has no result."""
    untracked: list[Path] = field(default_factory=list)
    """Run folders that MLflow did not take."""

    def take(self, outcome: Outcome) -> None:
        """A run has its result, which is on disk."""
        if outcome.reused:
            tidy(outcome.folder)
        self.outcomes.append(outcome)
        self.on_result(outcome)
        _tell_cost(outcome, self.progress)
        if self.tracker is not None:
            with phase("MLflow"):
                self._track(outcome, self.tracker)

    def fail(self, run: Run, error: str, attempts: int = 1, host: str = "") -> None:
        """A run has failed for good: it is told, here and in its run folder."""
        failures.record(run.folder(self.output), error, attempts, host)
        self.failures[label_of(run)] = error
        self.progress.warning(f"{run.name}: {error}")

    def close(self, runs: list[Run]) -> None:
        """All runs have ended. Results stand in their order from here on, whoever was quicker."""
        place = {run.folder(self.output): index for index, run in enumerate(runs)}
        self.outcomes.sort(key=lambda outcome: place[outcome.folder])
        if self.tracker is not None and not self.untracked:
            try:
                self.tracker.close("FAILED" if self.failures else "FINISHED")
            except Unfinished as error:
                self.progress.warning(str(error))

    def _track(self, outcome: Outcome, tracker: Tracker) -> None:
        """Log to MLflow; after the first failure its patience is not tried again."""
        if tracker.has(outcome.result, outcome.folder):
            return
        if not self.untracked:
            try:
                if outcome.reused:  # only what this command has drawn is logged
                    draw(replace(outcome, reused=False), self.progress)
                tracker.log(outcome.result, outcome.folder)
                return
            except Unfinished as error:
                later = command("uadbench", "track", outcome.folder, tracking_uri=tracker.uri)
                self.progress.warning(f"{error}; the scores are safe, log them later with: {later}")
        self.untracked.append(outcome.folder)


def label_of(run: Run) -> str:
    """What a run is called in messages."""
    return f"{run.name}, fold {run.fold_data.fold}, seed {run.seed}"


def require_known_secrets(runs: Sequence[Run], output: Path) -> None:
    """Raises InputError where a private cohort has another secret now than when `output` got its first run of it."""
    for fold_data in {id(run.fold_data): run.fold_data for run in runs}.values():
        require_same_secrets(output, {id(each): each for each in (fold_data.cohort, fold_data.test_cohort)}.values())


def tell_leaks(run: Run, progress: Progress) -> None:
    """Warn where test scans are scans that the model learns from. Reads the scans of the run."""
    if shared := run.fold_data.shared_images:
        progress.warning(
            f"{shared} test scans are, voxel by voxel, scans that the model learns from: scores will be too good; "
            "'uadbench cohort check' names them"
        )


def _tell_cost(outcome: Outcome, progress: Progress) -> None:
    cost = outcome.result.cost
    if cost.over_budget:
        progress.warning(
            f"{outcome.result.model.name}: took {cost.cpu_minutes:.3g} processor minutes, more than the "
            f"{cost.budget_minutes:g} that a run of {outcome.result.protocol.name} may cost; its result is marked"
        )


def draw(outcome: Outcome, progress: Progress) -> None:
    """The figures of a run folder, where they are not there yet; what cannot be drawn is told."""
    if outcome.reused and (outcome.folder / FIGURES / "example.png").is_file():  # the last to be drawn
        return
    try:
        draw_figures(outcome.result, outcome.folder)
    except Exception as error:  # a picture is no reason to lose the runs that follow
        progress.warning(f"{outcome.folder}: figures could not be drawn ({failures.reason(error)})")
