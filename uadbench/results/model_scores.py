"""The scores of all runs of one model as a table with a row per seed and a column per participant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.results.schema import ModelCard, Result
from uadbench.runtime.files import canonical
from uadbench.types import Values

Run = TypeVar("Run")


@dataclass(frozen=True)
class ModelScores:
    """One measure of a model over all its runs.

    Attributes:
        name: Name of the model, with options if several models share it.
        values: (seeds, participants) float64, both sorted. Folds are averaged within each participant, since they share
            the test participants; NaN if no fold has a score.
        folds: Number of folds.
        participants: The participants, in the order of the columns.
    """

    name: str
    values: Values
    folds: int = 1
    participants: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, runs: Mapping[tuple[int, int], pd.Series[float]]) -> ModelScores:
        """Average folds and stack seeds; `runs` maps (seed, fold) to scores by participant."""
        table = pd.DataFrame({run: runs[run] for run in sorted(runs)}).sort_index()
        by_seed = table.T.groupby(level=0).mean().to_numpy(dtype=np.float64)
        return cls(name, by_seed, len({fold for _, fold in runs}), tuple(map(str, table.index)))


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
