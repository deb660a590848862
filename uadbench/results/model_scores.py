"""The scores of all runs of one model as a table with a row per seed and a column per participant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.results.failed import trained
from uadbench.results.schema import ModelCard, Result
from uadbench.runtime.files import canonical
from uadbench.stats.trainings import Scored
from uadbench.types import Values

Run = TypeVar("Run")


@dataclass(frozen=True)
class ModelScores:
    """One measure of a model over all its runs.

    Attributes:
        name: Name of the model, with options if several models share it.
        values: (seeds, participants) float64, both sorted, without failed trainings. Folds are averaged within each
            participant, since they share the test participants; NaN if no fold has a score.
        folds: Number of folds.
        participants: The participants, in the order of the columns.
        trained: Whether trainings can differ; see `Scored`.
        calibration: (runs, groups) jackknife replicates of the mean; see `Scored`. None if there are none.
        failed: Number of failed trainings.
        runs: Number of trainings, failed or not.
    """

    name: str
    values: Values
    folds: int = 1
    participants: tuple[str, ...] = ()
    trained: bool = True
    calibration: Values | None = None
    failed: int = 0
    runs: int = 1

    @classmethod
    def of(
        cls,
        name: str,
        results: Sequence[Result],
        scores: Sequence[pd.Series[float]],
        reasons: Sequence[str],
        calibration: Values | None = None,
    ) -> ModelScores:
        """Average folds, stack seeds, and leave out failed trainings.

        Args:
            name: Name of the model.
            results: Its results.
            scores: The scores by participant of each result.
            reasons: Why each training failed, from `failures`; "" for a sound one.
            calibration: (runs, groups) jackknife replicates of the results that did not fail.
        """
        runs = {
            (result.seed, result.fold): own
            for result, own, reason in zip(results, scores, reasons, strict=True)
            if not reason
        }
        table = pd.DataFrame({run: runs[run] for run in sorted(runs)}, index=None if runs else scores[0].index)
        table = table.sort_index()
        by_seed = table.T.groupby(level=0).mean().to_numpy(dtype=np.float64) if runs else np.empty((0, len(table)))
        return cls(
            name,
            by_seed,
            len({fold for _, fold in runs}),
            tuple(map(str, table.index)),
            trained=any(map(trained, results)),
            calibration=calibration,
            failed=len(results) - len(runs),
            runs=len(results),
        )

    @property
    def sound(self) -> bool:
        """Whether at least one training did not fail."""
        return len(self.values) > 0

    @property
    def scored(self) -> Scored:
        """The scores for the decision rule."""
        return Scored(self.values, self.trained, self.calibration)


def by_model(
    runs: Iterable[Run], result_of: Callable[[Run], Result], source_of: Callable[[Run], object] | None = None
) -> dict[str, list[Run]]:
    """Group runs by model and options, under the model's name, with options if several models share the name.

    Args:
        runs: The runs, of any type.
        result_of: Gives the result of a run.
        source_of: Gives what an error names; by default, the model.

    Raises:
        InputError: If two results are of the same run.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        model = result_of(run).model
        groups.setdefault((_called(model), canonical(model.options)), []).append(run)
    cards = [(name, result_of(own[0]).model) for (name, _), own in groups.items()]
    groups_by_label = {}
    for (name, card), own in zip(cards, groups.values(), strict=True):
        alike = [other for other_name, other in cards if other_name == name]
        label = name if len(alike) == 1 else f"{name} ({_differing(card, alike)})"
        _require_one_of_each(source_of(own[0]) if source_of else label, [result_of(run) for run in own])
        groups_by_label[label] = own
    return groups_by_label


def _called(model: ModelCard) -> str:
    """The model's name, with a note for a tool that ran elsewhere."""
    return model.name if model.answers is None else f"{model.name} (answers in files)"


def _differing(card: ModelCard, alike: list[ModelCard]) -> str:
    """The options that distinguish a model from others with the same name."""
    options = [other.options for other in alike]
    keys = dict.fromkeys(key for each in options for key in each)
    differing = [key for key in keys if len({canonical([each.get(key), key in each]) for each in options}) > 1]
    return ", ".join(f"{key}={card.options[key]}" if key in card.options else f"no {key}" for key in differing)


def _require_one_of_each(source: object, results: list[Result]) -> None:
    runs = [(result.fold, result.seed) for result in results]
    for fold, seed in runs:
        if runs.count((fold, seed)) > 1:
            raise InputError(f"{source}: two results of fold {fold}, seed {seed}; remove one")
