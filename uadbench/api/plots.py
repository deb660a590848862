"""Figures of a finished run, as matplotlib figures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from uadbench.errors import InputError
from uadbench.results.schema import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uadbench.runs.keys import Run

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class RunPlots:
    """The figures of one run; each method returns a matplotlib figure, which a notebook shows."""

    result: Result
    folder: Path
    run: Run | None = None

    def severity(self) -> Figure:
        """Average precision and restoration error against severity, one line per dementia."""
        from uadbench.report.figures import severity_figure

        return _shown(severity_figure(self.result))

    def training(self) -> Figure:
        """Losses and validation error by epoch.

        Raises:
            InputError: If the model was not trained by gradients.
        """
        from uadbench.report.figures import training_figure

        if self.result.training is None:
            raise InputError(f"{self.result.model.name} was not trained by gradients: there is no training curve")
        return _shown(training_figure(self.result))

    def example(self) -> Figure:
        """One altered scan in three planes, with what the model makes of it.

        Raises:
            InputError: If the run folder holds no example, as is so of a shared result.
        """
        from uadbench.report.figures import example_figure
        from uadbench.results.examples import EXAMPLES, has_examples

        if not has_examples(self.folder):
            raise InputError(f"{self.folder}: holds no {EXAMPLES}; only the run folder itself does")
        return _shown(example_figure(self.folder / EXAMPLES, self.result.model.name))

    def case(self, participant: str, anomaly: str, severity: float) -> Figure:
        """One case of the test sets in three planes, with what the model makes of it.

        Args:
            participant: As in the column `participant_id` of the scores.
            anomaly: As in the column `anomaly`: "ad", "unseen", "varied", ...
            severity: As in the column `severity`: 0.3 for 30 %.

        Raises:
            InputError: If there is no such case, or the run was read from a file and its scans are not known here.
        """
        import torch

        from uadbench.application.trained import load_model
        from uadbench.evaluation.evaluator import Evaluator
        from uadbench.evaluation.pictures import case_volumes
        from uadbench.report.figures import volumes_figure

        if self.run is None:
            raise InputError(f"{self.folder}: its scans are not known here; get the run from uadbench.run(...)")
        fold_data, device = self.run.fold_data, torch.device("cpu")
        scans = {scan.participant: scan for scan in fold_data.cases.scans}
        if participant not in scans:
            raise InputError(f"{participant}: is no test participant; they are {', '.join(list(scans)[:5])}, ...")
        cases = [case for case in fold_data.cases.cases(scans[participant]) if case.anomaly == anomaly]
        chosen = [case for case in cases if abs(case.severity - severity) < 1e-6]
        if not chosen:
            there = (
                sorted({f"{case.anomaly} {case.severity:g}" for case in cases}) or fold_data.protocol.testsets.anomalies
            )
            raise InputError(f"no case '{anomaly}' of severity {severity:g}; there are: {', '.join(there)}")
        model, _ = load_model(self.folder, self.result, self.run.model)
        validation = fold_data.batches("validation", self.run.seed, device)
        evaluator = Evaluator.calibrated(model, fold_data.cases, validation, device)
        title = f"{self.result.model.name}: {participant}, {anomaly}, severity {severity:.0%}"
        volumes = case_volumes(evaluator, chosen[0])
        return _shown(volumes_figure(volumes, fold_data.protocol.lattice.affine, title))


def _shown(figure: Drawn) -> Drawn:
    """The same figure, which a notebook shows as a picture even where pyplot was never imported."""
    shell = sys.modules.get("IPython")
    kernel = shell.get_ipython() if shell is not None else None
    if kernel is not None and hasattr(kernel, "kernel"):
        import_module("IPython.core.pylabtools").select_figure_formats(kernel, {"png"})
    return figure
