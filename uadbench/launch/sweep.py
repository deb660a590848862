"""Collection of the results and failures of a list of runs, and their logging to MLflow."""

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
    """Collects runs as they end, in any order, and logs them to MLflow.

    Attributes:
        output: Folder for results.
        tracker: Logs to MLflow; None for no logging.
        progress: Receives progress reports.
        on_result: Called with each finished run.
        outcomes: The finished runs.
        failures: Reason for each failed run, by its label.
        untracked: Run folders that could not be logged to MLflow.
    """

    output: Path
    tracker: Tracker | None
    progress: Progress
    on_result: Callable[[Outcome], None] = lambda outcome: None
    outcomes: list[Outcome] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    untracked: list[Path] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        """Add a finished run, whose result is on disk."""
        if outcome.reused:
            tidy(outcome.folder)
        self.outcomes.append(outcome)
        self.on_result(outcome)
        _warn_of_cost(outcome, self.progress)
        if self.tracker is not None:
            with phase("MLflow"):
                self._track(outcome, self.tracker)

    def fail(self, run: Run, error: str, attempts: int = 1, host: str = "") -> None:
        """Record a run that failed for good.

        Args:
            run: The run.
            error: The reason, in one line.
            attempts: Number of attempts.
            host: Machine of the last attempt.
        """
        failures.record(run.folder(self.output), error, attempts, host)
        self.failures[label_of(run)] = error
        self.progress.warning(f"{run.name}: {error}")

    def close(self, runs: list[Run]) -> None:
        """Sort the results in the order of the runs and close the MLflow run; call it when all runs have ended."""
        position = {run.folder(self.output): index for index, run in enumerate(runs)}
        self.outcomes.sort(key=lambda outcome: position[outcome.folder])
        if self.tracker is not None and not self.untracked:
            try:
                self.tracker.close("FAILED" if self.failures else "FINISHED")
            except Unfinished as error:
                self.progress.warning(str(error))

    def _track(self, outcome: Outcome, tracker: Tracker) -> None:
        """Log to MLflow; after the first failure, later runs are not logged, so that only one timeout is waited for."""
        if tracker.has(outcome.result, outcome.folder):
            return
        if not self.untracked:
            try:
                if outcome.reused:  # only figures that this command has drawn are logged
                    draw(replace(outcome, reused=False), self.progress)
                tracker.log(outcome.result, outcome.folder)
                return
            except Unfinished as error:
                later = command("uadbench", "track", outcome.folder, tracking_uri=tracker.uri)
                self.progress.warning(f"{error}; the scores are saved, log them later with: {later}")
        self.untracked.append(outcome.folder)


def label_of(run: Run) -> str:
    """The name of a run in messages."""
    return f"{run.name}, fold {run.fold_data.fold}, seed {run.seed}"


def require_known_secrets(runs: Sequence[Run], output: Path) -> None:
    """Require private cohorts to have the same secret as for the runs that are already in the output folder.

    Args:
        runs: The runs.
        output: Folder for results.

    Raises:
        InputError: If a cohort has a different secret.
    """
    for fold_data in {id(run.fold_data): run.fold_data for run in runs}.values():
        require_same_secrets(output, {id(each): each for each in (fold_data.cohort, fold_data.test_cohort)}.values())


def warn_of_leaks(run: Run, progress: Progress) -> None:
    """Warn if test scans are identical to training scans. Reads the scans of the run."""
    if shared := run.fold_data.shared_images:
        progress.warning(
            f"{shared} test scans are identical to scans that the model learns from, so scores will be too good; "
            "'uadbench cohort check' lists them"
        )


def _warn_of_cost(outcome: Outcome, progress: Progress) -> None:
    cost = outcome.result.cost
    if cost.over_budget:
        progress.warning(
            f"{outcome.result.model.name}: used {cost.cpu_minutes:.3g} processor minutes, more than the "
            f"{cost.budget_minutes:g} allowed by protocol {outcome.result.protocol.name}; the result is marked as over "
            "budget"
        )


def draw(outcome: Outcome, progress: Progress) -> None:
    """Draw the figures of a run unless they exist already; errors become warnings.

    Args:
        outcome: The finished run.
        progress: Receives warnings.
    """
    if outcome.reused and (outcome.folder / FIGURES / "example.png").is_file():  # drawn last
        return
    try:
        draw_figures(outcome.result, outcome.folder)
    except Exception as error:  # a failed figure must not stop the other runs
        progress.warning(f"{outcome.folder}: figures could not be drawn ({failures.reason(error)})")
