"""Estimates of the computing time of runs, from the cost of earlier runs of the same model."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from uadbench.errors import InputError
from uadbench.leaderboard.checks import protocol_of
from uadbench.leaderboard.entries import RESULTS, result_files
from uadbench.protocols.schema import Protocol, stored_protocol
from uadbench.results.schema import RESULT, Result, read_result
from uadbench.runs.keys import Run

MOST = 3
"""Number of results of a model and protocol that are used."""


@dataclass(frozen=True)
class Estimate:
    """Estimated time that a run still takes.

    Attributes:
        seconds: Seconds on one worker; None if there is no earlier run of the model.
        basis: Protocol and device of the earlier runs.
    """

    seconds: float | None
    basis: str = ""


@dataclass(frozen=True)
class _EarlierRun:
    """An earlier run with its protocol."""

    result: Result
    protocol: Protocol


@dataclass(frozen=True)
class Estimator:
    """Estimates the time of runs from run folders and committed results.

    The cost of runs under the same protocol is used as it is. The cost of runs under another protocol is scaled:
    training with scans x epochs x voxels, evaluation with cases x voxels. This is rough for models whose work is not
    proportional to these.

    Attributes:
        output: Folder with run folders.
        board: The leaderboard folder, if it exists.
    """

    output: Path
    board: Path
    _by_model: dict[str, list[_EarlierRun]] = field(default_factory=dict, init=False)

    def of(self, run: Run, state: str) -> Estimate:
        """Estimate the remaining time of a run.

        Args:
            run: The run.
            state: Its state, as `Run.state` returns it.

        Returns:
            The estimate; 0 seconds for a finished run.
        """
        if state == "done":
            return Estimate(0.0)
        protocol, rows = run.fold_data.protocol, run.fold_data.rows
        if run.name not in self._by_model:
            self._by_model[run.name] = list(self._earlier_runs(run.name))
        every = self._by_model[run.name]
        earlier = [each for each in every if each.protocol.hash == protocol.hash] or every
        if not earlier:
            return Estimate(None)
        seconds = []
        for each in earlier[:MOST]:
            cost, cohort, epochs = each.result.cost, each.result.cohort, each.result.training is not None
            now = _training_voxels(protocol, len(rows["train"]), epochs)
            then = _training_voxels(each.protocol, cohort.train, epochs)
            training = 0.0 if state == "trained" else (cost.train_seconds or 0.0) * now / then
            now = _evaluation_voxels(protocol, len(rows["test"]), len(rows["audit"]))
            then = _evaluation_voxels(each.protocol, cohort.test, cohort.audit)
            seconds.append(training + cost.evaluation_seconds * now / then)
        one = earlier[0]
        return Estimate(statistics.median(seconds), f"{one.protocol.name} on {one.result.provenance.device}")

    def _earlier_runs(self, model: str) -> Iterator[_EarlierRun]:
        """Earlier runs of a model, those in `output` first; files that cannot be read are skipped."""
        folders: dict[str, int] = {}
        for file in sorted(self.output.glob(f"*/*/{model}/fold*/{RESULT}")):
            kind = str(file.parents[2])
            folders[kind] = folders.get(kind, 0) + 1
            if folders[kind] <= MOST:
                try:
                    result = read_result(file.parent)
                    yield _EarlierRun(result, stored_protocol(file.parent, result.protocol.name))
                except InputError:
                    continue
        board = result_files(self.board) if (self.board / RESULTS).is_dir() else []
        for file in [file for file in board if model in file.parts][:MOST]:
            try:
                result = read_result(file)
                yield _EarlierRun(result, protocol_of(self.board, result))
            except InputError:
                continue


def _training_voxels(protocol: Protocol, scans: int, learns_by_gradients: bool) -> float:
    """Number of voxels that are processed in a training."""
    return float(scans) * (protocol.training.epochs if learns_by_gradients else 1) * protocol.lattice.size


def _evaluation_voxels(protocol: Protocol, scans: int, audited: int) -> float:
    """Number of voxels that are processed in an evaluation: every test scan with its cases, and the bias audit."""
    section = protocol.testsets
    cases = (len(section.anomalies) + 1) * len(section.severities) + section.varied.draws + 2
    shifted = len(section.shifted.shifts) * (scans + min(section.shifted.scans, scans) * len(section.shifted_anomalies))
    return float(scans * cases + shifted + audited) * protocol.lattice.size
