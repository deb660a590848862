"""The runs of one model as one table of scores: a row for each seed, a column for each participant."""

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
    """One measure of a model, over all its runs.

    Attributes:
        name: What the model is called beside others.
        values: (seeds, participants) float64, seeds and participants sorted. Folds are averaged within the participant,
            since they share the test participants; NaN where no fold has a score.
        folds: How many folds there are.
        participants: Who they are.
    """

    name: str
    values: Values
    folds: int = 1
    participants: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, runs: Mapping[tuple[int, int], pd.Series[float]]) -> ModelScores:
        """Average folds and stack seeds; `runs` holds the scores by participant of each (seed, fold)."""
        table = pd.DataFrame({run: runs[run] for run in sorted(runs)}).sort_index()
        by_seed = table.T.groupby(level=0).mean().to_numpy(dtype=np.float64)
        return cls(name, by_seed, len({fold for _, fold in runs}), tuple(map(str, table.index)))


def by_model(
    runs: Iterable[Run], result_of: Callable[[Run], Result], source_of: Callable[[Run], object] | None = None
) -> dict[str, list[Run]]:
    """Runs of the same model and options, under its name, with options where several models share the name.

    Args:
        runs: Whatever has a result.
        result_of: The result of a run.
        source_of: What an error names; the model by default.

    Raises:
        InputError: For two runs of one run.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        model = result_of(run).model
        groups.setdefault((_called(model), canonical(model.options)), []).append(run)
    cards = [(name, result_of(own[0]).model) for (name, _), own in groups.items()]
    found = {}
    for (name, card), own in zip(cards, groups.values(), strict=True):
        alike = [other for other_name, other in cards if other_name == name]
        label = name if len(alike) == 1 else f"{name} ({_differing(card, alike)})"
        _require_one_of_each(source_of(own[0]) if source_of else label, [result_of(run) for run in own])
        found[label] = own
    return found


def _called(model: ModelCard) -> str:
    """The model's name; a tool that ran elsewhere bears a mark wherever its name stands."""
    return model.name if model.answers is None else f"{model.name} (answers in files)"


def _differing(card: ModelCard, alike: list[ModelCard]) -> str:
    """The options by which a model differs from others of its name."""
    options = [other.options for other in alike]
    keys = dict.fromkeys(key for each in options for key in each)
    differing = [key for key in keys if len({canonical([each.get(key), key in each]) for each in options}) > 1]
    return ", ".join(f"{key}={card.options[key]}" if key in card.options else f"no {key}" for key in differing)


def _require_one_of_each(source: object, results: list[Result]) -> None:
    runs = [(result.fold, result.seed) for result in results]
    for fold, seed in runs:
        if runs.count((fold, seed)) > 1:
            raise InputError(f"{source}: two results of fold {fold}, seed {seed}; remove one")
