"""One run: what it depends on (its keys), where it lies, and how far it is."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from uadbench import registry
from uadbench.errors import InputError
from uadbench.evaluation.evaluator import REVISIONS
from uadbench.models.base import Model
from uadbench.models.checkpoint import build_model, has_model
from uadbench.models.initial_state import Initial, initial_state
from uadbench.models.source import source_digest
from uadbench.models.weights_file import GivenWeights
from uadbench.protocols.schema import is_shipped
from uadbench.results import aggregate
from uadbench.results.schema import Result, read_result
from uadbench.results.scores import has_scores
from uadbench.runs import failures
from uadbench.runs.fold_data import TESTING, TRAINING, FoldData
from uadbench.runtime.files import content_hash, file_name
from uadbench.training.loop import REVISION as TRAINING_REVISION
from uadbench.training.loop import Curve

STATE = "training.safetensors"
"""File in a run folder that an interrupted training continues from."""
SAVE_EVERY_S = 10.0
"""Seconds between two saved states of training or evaluation."""


@dataclass(frozen=True)
class Run:
    """One (model, options, cohort, protocol, fold, seed): the unit of training, caching and resuming.

    `options` are what the user set; the recipe of the protocol and the defaults fill in the rest. With
    `weights` nothing is trained: they are evaluated, and the result is unranked.
    """

    model: str
    fold_data: FoldData
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: GivenWeights | None = None
    like: Run | None = field(default=None, repr=False, compare=False)
    """Another run of the same model, options and grid, whose initial state need not be found again."""

    @cached_property
    def plugin(self) -> type[Model]:
        """The model's class."""
        found: type[Model] = registry.models.get(self.model)
        return found

    @property
    def name(self) -> str:
        """What the model is called in results: its registered name, or the class of a file."""
        return self.plugin.registered_name

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """Every option: the user's before the recipe's before the defaults."""
        defaults = {name: p.default for name, p in registry.options_of(self.plugin).items() if p.default is not p.empty}
        recipe = self.plugin.recipes.get(self.fold_data.protocol.training.recipe, {})
        return defaults | dict(recipe) | registry.check_options(self.name, self.plugin, self.options)

    @cached_property
    def source(self) -> str | None:
        """The hash of the model's code, and of the models that it is made of; None where it is not known."""
        return source_digest(self.plugin, *self.plugin.parts(self.all_options))

    @cached_property
    def initial(self) -> Initial:
        """What the model begins with, apart from what it draws."""
        if self.like is not None:
            return self.like.initial
        lattice = self.fold_data.protocol.lattice
        return initial_state(lambda: build_model(self.model, lattice, self.all_options, seed=0))

    @property
    def unranked(self) -> str | None:
        """Why the model's results are not ranked, in words; None for one whose results are."""
        if self.source is None:
            return f"the source of {self.name} is unknown; put it into a file"
        if self.initial.digest is None:
            return f"what {self.name} begins with cannot be read"
        if self.initial.undeclared:
            return (
                f"{self.name} arrives with weights that seem to be learnt, and are not declared: {self.initial.named}"
            )
        return None

    @cached_property
    def _origin(self) -> list[str]:
        """What is known of code and initial state; if that is not all, it equals no other."""
        known = [self.source, self.initial.digest]
        return [part or uuid.uuid4().hex for part in known]

    @cached_property
    def fit_key(self) -> str:
        """What the weights depend on; equal keys need no second training."""
        fold_data, origin = self.fold_data, self._origin
        recipe = fold_data.protocol.model_dump(mode="json", include={"grid", "intensity", "training"})
        return content_hash(
            self.name,
            self.all_options,
            origin,
            recipe,
            TRAINING_REVISION,
            [fold_data.cohort.name, fold_data.cohort.version],
            fold_data.content(TRAINING),
            self.seed,
            *([] if self.weights is None else [self.weights.digest]),
        )

    @cached_property
    def eval_key(self) -> str:
        """What a result depends on: the weights, the test sets, how they are scored, what is known of the people."""
        fold_data = self.fold_data
        how = fold_data.protocol.model_dump(mode="json", include={"standard_map", "ranking", "detection"})
        revisions = [REVISIONS, aggregate.REVISION]
        return content_hash(
            self.fit_key, fold_data.testset_recipe, fold_data.content(TESTING), how, revisions, fold_data.told
        )

    def folder(self, output: Path) -> Path:
        """The run folder of this run under `output`."""
        protocol, tested_on = self.fold_data.protocol, self.fold_data.test_cohort
        cohort = file_name(self.fold_data.cohort.name)
        if tested_on is not self.fold_data.cohort:
            cohort += f"--{file_name(tested_on.name)}"
        # a changed protocol keeps its results apart from those of the one it was made from
        label = protocol.name if is_shipped(protocol) else f"{protocol.name}-{protocol.hash[:8]}"
        return output / cohort / label / self.name / f"fold{self.fold_data.fold}-seed{self.seed}-{self.fit_key[:8]}"

    def state(self, output: Path) -> str:
        """`done`, `failed`, `trained` (to be evaluated), `begun`, or `to do`."""
        folder = self.folder(output)
        if self.outcome(output) is not None:
            return "done"
        if failures.recorded(folder) is not None:
            return "failed"
        if has_model(folder, self.fit_key):
            return "trained"
        return "begun" if (folder / STATE).exists() else "to do"

    def outcome(self, output: Path) -> Outcome | None:
        """What lies under `output` already, if this run is done."""
        folder = self.folder(output)
        known = finished(folder, self.eval_key)
        return None if known is None else Outcome(known, folder, reused=True)

    def prepared(self, device: torch.device) -> tuple[Model, Curve] | None:
        """The model and its training curve where nothing is to be trained or read; None for every model of code."""
        return None

    def amended(self, result: Result) -> Result:
        """The result with what the harness cannot know of this run; one of another kind overrides it."""
        return result


@dataclass(frozen=True)
class Outcome:
    """A run's result and where it lies; `reused` if it was there already."""

    result: Result
    folder: Path
    reused: bool


def finished(folder: Path, eval_key: str) -> Result | None:
    """The result in a run folder, if it is of this evaluation, and whole with its scores."""
    try:
        result = read_result(folder)
    except InputError:
        return None
    return result if result.eval_key == eval_key and has_scores(folder, result.score_hash) else None
