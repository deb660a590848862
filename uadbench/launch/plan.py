"""A request for runs as plain data, and its expansion into runs, which is the same in every process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from uadbench.cohorts.base import Cohort
from uadbench.cohorts.opening import open_and_warn
from uadbench.cohorts.splits.listed import read_split
from uadbench.models.weights_file import GivenWeights, find_weights
from uadbench.protocols.schema import Protocol
from uadbench.runs.fold_data import Selection, plan_fold
from uadbench.runs.keys import Run
from uadbench.runtime.progress import Progress


class Request(BaseModel):
    """The checked arguments of `uadbench run`: models x folds x seeds under a protocol, on a cohort.

    Attributes:
        models: Models as on the command line.
        protocol: The protocol.
        cohort: The cohort argument.
        folds: Indices of the folds.
        seeds: Seeds of the trainings.
        options: Model options that the user set, by the model's name in `models`.
        healthy: Diagnoses used as healthy.
        patients: Diagnoses used as patients.
        split: File that lists the participants of each part.
        test_cohort: Cohort to test on, if it differs from the training cohort.
        simulated: Folder with additional simulated test images.
        checkpoint: Weights to evaluate instead of training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...]
    protocol: Protocol
    cohort: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    options: dict[str, dict[str, Any]] = {}
    healthy: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    split: Path | None = None
    test_cohort: str | None = None
    simulated: Path | None = None
    checkpoint: Path | None = None

    def runs(self, progress: Progress) -> list[Run]:
        """Expand the request into runs.

        Args:
            progress: Receives notices and warnings.

        Returns:
            The runs, in the order of execution.

        Raises:
            InputError: If a model, cohort, fold or file does not exist.
        """
        selection = Selection(
            healthy=self.healthy,
            patients=self.patients,
            split=None if self.split is None else read_split(self.split),
            test_cohort=None if self.test_cohort is None else open_and_warn(self.test_cohort, progress),
            simulated=self.simulated,
        )
        weights = None if self.checkpoint is None else find_weights(self.checkpoint)
        source = open_and_warn(self.cohort, progress)
        planned = plan_runs(
            source, self.protocol, self.models, self.options, self.folds, self.seeds, progress, selection, weights
        )
        return list(planned)


def plan_runs(
    cohort: Cohort,
    protocol: Protocol,
    models: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    folds: Sequence[int],
    seeds: Sequence[int],
    progress: Progress,
    selection: Selection | None = None,
    weights: GivenWeights | None = None,
) -> Iterator[Run]:
    """Yield the runs of models x folds x seeds; runs of the same fold share its scans.

    A summary of the cohort and its split is printed for the first fold.

    Args:
        cohort: The cohort.
        protocol: The protocol.
        models: Models as on the command line.
        options: Model options that the user set, by the model's name in `models`.
        folds: Indices of the folds.
        seeds: Seeds of the trainings.
        progress: Receives notices and warnings.
        selection: Which scans are used; defaults to the selection of the protocol.
        weights: Weights to evaluate instead of training.

    Yields:
        The runs, in the order of execution.
    """
    first: dict[str, Run] = {}
    for fold in folds:
        fold_data = plan_fold(cohort, protocol, fold, progress, selection)
        for line in fold_data.summary() if fold == folds[0] else ():
            progress.notice(line)
        for name in models:
            for seed in seeds:
                run = Run(name, fold_data, seed, options.get(name, {}), weights, first.get(name))
                first.setdefault(name, run)
                yield run
