"""What runs will cost, from what runs of the same model have cost."""

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
"""So many results of a model and protocol are looked at."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one worker that a run still takes; None where no run of its model is known.

    `basis` is the protocol of the known runs, and the device that they ran on.
    """

    seconds: float | None
    basis: str = ""


@dataclass(frozen=True)
class _Known:
    """What a run has cost, and under what."""

    result: Result
    protocol: Protocol


@dataclass(frozen=True)
class Estimator:
    """Looks at the run folders in `output`, and at the committed results of a leaderboard's folder where there is one.

    Results of the run's own protocol are believed as they are. Those of another one are scaled: training with scans x
    epochs x voxels, evaluation with cases x voxels, which is rough where a model's work is not proportional to these.
    """

    output: Path
    board: Path
    _found: dict[str, list[_Known]] = field(default_factory=dict, init=False)

    def of(self, run: Run, state: str) -> Estimate:
        """What a run costs from its `state` on (see `Run.state`)."""
        if state == "done":
            return Estimate(0.0)
        protocol, rows = run.fold_data.protocol, run.fold_data.rows
        if run.name not in self._found:
            self._found[run.name] = list(self._known(run.name))
        every = self._found[run.name]
        known = [each for each in every if each.protocol.hash == protocol.hash] or every
        if not known:
            return Estimate(None)
        seconds = []
        for each in known[:MOST]:
            cost, cohort, epochs = each.result.cost, each.result.cohort, each.result.training is not None
            wanted, had = _passes(protocol, len(rows["train"]), epochs), _passes(each.protocol, cohort.train, epochs)
            training = 0.0 if state == "trained" else (cost.train_seconds or 0.0) * wanted / had
            wanted, had = _looks(protocol, len(rows["test"])), _looks(each.protocol, cohort.test)
            seconds.append(training + cost.evaluation_seconds * wanted / had)
        one = known[0]
        return Estimate(statistics.median(seconds), f"{one.protocol.name} on {one.result.provenance.device}")

    def _known(self, model: str) -> Iterator[_Known]:
        """What there is of a model, its own runs first; what cannot be read is no help, and no harm."""
        folders: dict[str, int] = {}
        for file in sorted(self.output.glob(f"*/*/{model}/fold*/{RESULT}")):
            kind = str(file.parents[2])
            folders[kind] = folders.get(kind, 0) + 1
            if folders[kind] <= MOST:
                try:
                    result = read_result(file.parent)
                    yield _Known(result, stored_protocol(file.parent, result.protocol.name))
                except InputError:
                    continue
        board = result_files(self.board) if (self.board / RESULTS).is_dir() else []
        for file in [file for file in board if model in file.parts][:MOST]:
            try:
                result = read_result(file)
                yield _Known(result, protocol_of(self.board, result))
            except InputError:
                continue


def _passes(protocol: Protocol, scans: int, learns_by_gradients: bool) -> float:
    """Voxels that a training sees."""
    return float(scans) * (protocol.training.epochs if learns_by_gradients else 1) * protocol.lattice.size


def _looks(protocol: Protocol, scans: int) -> float:
    """Voxels that an evaluation sees: of every test scan its cases, and itself."""
    section = protocol.testsets
    cases = (len(section.anomalies) + 1) * len(section.severities) + section.varied.draws + 2
    return float(scans) * cases * protocol.lattice.size
