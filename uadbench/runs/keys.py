"""A run: the keys that identify what its weights and its result depend on, its folder and its state."""

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
from uadbench.runs.fold_data import AUDITING, TESTING, TRAINING, FoldData
from uadbench.runtime.files import content_hash, file_name
from uadbench.training.loop import REVISION as TRAINING_REVISION
from uadbench.training.loop import Curve

STATE = "training.safetensors"
"""File in a run folder from which an interrupted training is resumed."""
SAVE_EVERY_S = 10.0
"""Shortest interval between two saved states of training or evaluation, in seconds."""


@dataclass(frozen=True)
class Run:
    """One model with options, cohort, protocol, fold and seed: the unit of training, caching and resuming.

    Attributes:
        model: Name of the model, or PATH.py:Class.
        fold_data: The scans of cohort, protocol and fold.
        seed: Seed of the weights and of training.
        options: Options set by the user; recipe and defaults supply the others.
        weights: Weights from a file. They are evaluated without training, and the result is unranked.
        like: Another run with the same model, options and grid, from which the initial state is taken.
    """

    model: str
    fold_data: FoldData
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: GivenWeights | None = None
    like: Run | None = field(default=None, repr=False, compare=False)

    @cached_property
    def plugin(self) -> type[Model]:
        """The model's class."""
        plugin: type[Model] = registry.models.get(self.model)
        return plugin

    @property
    def name(self) -> str:
        """The name of the model in results: its registered name, or the class name for a model from a file."""
        return self.plugin.registered_name

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """Every option: from the user if set, otherwise from the recipe of the protocol, otherwise the default."""
        defaults = {name: p.default for name, p in registry.options_of(self.plugin).items() if p.default is not p.empty}
        recipe = self.plugin.recipes.get(self.fold_data.protocol.training.recipe, {})
        return defaults | dict(recipe) | registry.check_options(self.name, self.plugin, self.options)

    @cached_property
    def source(self) -> str | None:
        """The hash of the code of the model and of the models that it contains; None if it is unknown."""
        return source_digest(self.plugin, *self.plugin.parts(self.all_options))

    @cached_property
    def initial(self) -> Initial:
        """The initial state of the model, without random numbers."""
        if self.like is not None:
            return self.like.initial
        lattice = self.fold_data.protocol.lattice
        return initial_state(lambda: build_model(self.model, lattice, self.all_options, seed=0))

    @property
    def unranked(self) -> str | None:
        """Why the results of the model are not ranked, in words; None if they are ranked."""
        if self.source is None:
            return f"the source of {self.name} is unknown; put it into a file"
        if self.initial.digest is None:
            return f"the initial state of {self.name} cannot be read"
        if self.initial.undeclared:
            return f"{self.name} starts with weights that seem to be learnt and are not declared: {self.initial.named}"
        return None

    @cached_property
    def _origin(self) -> list[str]:
        """Hashes of code and initial state; an unknown one is replaced by a unique value, which equals no other."""
        return [part or uuid.uuid4().hex for part in (self.source, self.initial.digest)]

    @cached_property
    def fit_key(self) -> str:
        """The fit key: a hash of everything that the weights depend on. Runs with equal keys share one training."""
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
        """The evaluation key: a hash of everything that a result depends on.

        It covers the weights, the test sets, the scoring, and the information on the test participants.
        """
        fold_data = self.fold_data
        how = fold_data.protocol.model_dump(mode="json", include={"standard_map", "ranking", "detection"})
        revisions = [REVISIONS, aggregate.REVISION]
        scans = [fold_data.content(parts) for parts in (TESTING, AUDITING)]
        return content_hash(self.fit_key, fold_data.testset_recipe, scans, how, revisions, fold_data.test_traits)

    def folder(self, output: Path) -> Path:
        """The run folder below the output folder."""
        protocol, tested_on = self.fold_data.protocol, self.fold_data.test_cohort
        cohort = file_name(self.fold_data.cohort.name)
        if tested_on is not self.fold_data.cohort:
            cohort += f"--{file_name(tested_on.name)}"
        # results of a modified protocol are kept apart from those of the original
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
        """The existing outcome in the output folder, if the run is done."""
        folder = self.folder(output)
        result = finished(folder, self.eval_key)
        return None if result is None else Outcome(result, folder, reused=True)

    def prepared(self, device: torch.device) -> tuple[Model, Curve] | None:
        """A finished model and its curve, for kinds of runs that neither train nor load weights; None otherwise."""
        return None

    def amended(self, result: Result) -> Result:
        """The result with additions from special kinds of runs, which override this method."""
        return result


@dataclass(frozen=True)
class Outcome:
    """The result of a run and its folder; `reused` if it existed before."""

    result: Result
    folder: Path
    reused: bool


def finished(folder: Path, eval_key: str) -> Result | None:
    """The result in a run folder, if it has this evaluation key and its scores are complete."""
    try:
        result = read_result(folder)
    except InputError:
        return None
    return result if result.eval_key == eval_key and has_scores(folder, result.score_hash) else None
