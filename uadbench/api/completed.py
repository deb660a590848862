"""A finished run in Python: its result, its scores, its pictures, its trained model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from uadbench.api.plots import RunPlots
from uadbench.report.words import number
from uadbench.results.schema import Result
from uadbench.results.scores import read_scores_of, scores_beside
from uadbench.types import PATIENTS

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.models.base import Model
    from uadbench.runs.keys import Run


@dataclass(frozen=True)
class CompletedRun:
    """A run that has its result.

    Attributes:
        result: Everything that was computed, typed: `result.headline.ap_standard`, `result.detection`, ...
        folder: The run folder, or the file of a shared result.
    """

    result: Result
    folder: Path
    _run: Run | None = field(default=None, repr=False, compare=False)
    _keeps: Any = field(default=None, repr=False, compare=False)
    """The temporary run folder, if there is no permanent one; it is removed with this object."""

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score of every case: one row per scan, anomaly and severity.

        `uadbench.columns(run.scores)` describes the columns.

        Raises:
            InputError: If the file is missing, damaged, or of another result.
        """
        return read_scores_of(self.result, scores_beside(self.folder))

    @property
    def plot(self) -> RunPlots:
        """Figures of this run: `run.plot.severity()`, `run.plot.training()`, `run.plot.case(...)`."""
        return RunPlots(self.result, self.folder, self._run)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report.

        Args:
            path: A folder, which gets the page, its figures and its tables; or a file that ends in .html, which gets
                the page alone (it is self-contained). By default `report/` in the run folder.

        Returns:
            The page.

        Raises:
            InputError: If the scores cannot be read.
        """
        from uadbench.report.page import write_report
        from uadbench.runtime.files import require_folder, temporary_place
        from uadbench.runtime.progress import Silent

        source = self.folder if self.folder.is_dir() else self.folder.parent
        target = source / "report" if path is None else Path(path)
        if target.suffix.lower() != ".html":
            require_folder(target)
            return write_report(self.result, self.scores, source, target, Silent()).page
        require_folder(target.parent)
        with tempfile.TemporaryDirectory(dir=temporary_place()) as scratch:
            page = write_report(self.result, self.scores, source, Path(scratch), Silent()).page
            return Path(shutil.copyfile(page, target))

    def model(self) -> Model:
        """Load the trained model, in eval mode on the CPU.

        Raises:
            InputError: If the run folder holds no weights, or the model's code is not available.
        """
        from uadbench.application.trained import load_model

        return load_model(self.folder, self.result, None if self._run is None else self._run.model)[0]

    def to_dict(self) -> dict[str, Any]:
        """The run as one row of a table: what it is, what it scored, what it cost."""
        result, headline = self.result, self.result.headline
        low, high = headline.ap_interval or (None, None)
        patients = next((each for each in result.detection.testsets if each.anomaly == PATIENTS), None)
        return {
            "model": result.model.name,
            "protocol": result.protocol.name,
            "cohort": result.cohort.name,
            "fold": result.fold,
            "seed": result.seed,
            "ranking_ap": headline.ap_standard,
            "low": low,
            "high": high,
            "ap_dementias": headline.ap_dementias,
            "ap_unseen": headline.ap_unseen,
            "ap_native": headline.ap_native,
            "healthy_mse": headline.healthy_mse,
            "auroc_patients": patients.auroc.value if patients is not None else None,
            **{f"auroc_{group.group}": group.auroc.value for group in result.detection.patients},
            "train_seconds": result.cost.train_seconds,
            "ranked": result.protocol.ranked,
            "folder": str(self.folder),
        }

    def __str__(self) -> str:
        result, headline = self.result, self.result.headline
        low, high = headline.ap_interval or (None, None)
        interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        what = f"{result.model.name}, {result.protocol.name}, {result.cohort.name}, fold {result.fold}"
        return f"{what}, seed {result.seed}: ranking AP {number(headline.ap_standard)}{interval}"

    def __repr__(self) -> str:
        return f"<CompletedRun {self}>"


@dataclass(frozen=True)
class Runs(Sequence[CompletedRun]):
    """Several finished runs.

    Attributes:
        runs: In the order in which they were asked for.
        failures: Run -> why it has no result.
    """

    runs: tuple[CompletedRun, ...]
    failures: dict[str, str] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> CompletedRun: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> CompletedRun | Runs:
        return Runs(self.runs[index]) if isinstance(index, slice) else self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[CompletedRun]:
        return iter(self.runs)

    def to_frame(self) -> pd.DataFrame:
        """One row per run: what it is, its ranking AP with a 95 % interval over participants, its cost, its folder."""
        import pandas as pd

        return pd.DataFrame([run.to_dict() for run in self.runs])

    def __repr__(self) -> str:
        lines = [*map(str, self.runs), *(f"{run}: failed, {why}" for run, why in self.failures.items())]
        return "\n".join(lines) if lines else "no runs"
