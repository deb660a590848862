"""Checks of a model's training: gradients, seeds, declared weights, saving and resuming."""

from __future__ import annotations

import tempfile
from itertools import chain, islice, repeat
from pathlib import Path

import torch

from uadbench.cohorts.batches import Batches
from uadbench.models.base import Model
from uadbench.models.checkpoint import WEIGHTS, load_weights, save_model
from uadbench.models.initial_state import initial_state
from uadbench.runtime.files import temporary_place
from uadbench.runtime.progress import Silent
from uadbench.testing.examples import (
    answers_of,
    example_batches,
    fitted,
    global_generators,
    new_model,
    require_losses,
    unseen_batch,
)
from uadbench.training.loop import train

STEPS = 12
"""Number of training steps within which every parameter must get a gradient."""


def check_gradients_everywhere(model_class: type[Model]) -> None:
    """Every parameter gets a finite non-zero gradient from some loss (models that learn by gradients).

    A layer with initial weights of zero, such as the last of a residual branch, passes no gradient to earlier layers
    until its weights have changed. Therefore the optimisers step as in training, and a gradient in any of the first
    steps counts.
    """
    model = new_model(model_class)
    if not model.learns_by_gradients:
        return
    batches = example_batches()
    require_losses(new_model(model_class), batches)
    with global_generators(0):
        model.prepare(batches)
        reached, moved = _gradients(model, batches)
    learnt = [label for label, p in model.named_parameters() if p.requires_grad]
    left = [label for label in learnt if label not in reached]
    assert not left, f"no loss whose optimiser owns it reaches {_some(left)}"
    still = [label for label in learnt if label not in moved]
    assert not still, f"the gradient is exactly zero in {STEPS} steps of training for {_some(still)}"


def _gradients(model: Model, batches: Batches) -> tuple[set[str], set[str]]:
    """Names of the parameters that losses reach, and of those with a non-zero gradient, within some steps."""
    model.train()
    optimisers = model.optimisers()
    owned = {
        name: {id(p) for g in optimiser.param_groups for p in g["params"]} for name, optimiser in optimisers.items()
    }
    learnt = {label: p for label, p in model.named_parameters() if p.requires_grad}
    reached: set[str] = set()
    moved: set[str] = set()
    for batch in islice(chain.from_iterable(repeat(batches)), STEPS):
        for name, loss in model.losses(batch):
            optimisers[name].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for label, parameter in learnt.items():
                if id(parameter) in owned[name] and parameter.grad is not None:
                    assert torch.isfinite(parameter.grad).all(), f"the gradient of '{label}' is not finite"
                    reached.add(label)
                    if parameter.grad.any():
                        moved.add(label)
            optimisers[name].step()
        if len(moved) == len(learnt):
            break
    return reached, moved


def _some(labels: list[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(f"'{label}'" for label in labels[:3]) + more


def check_weights_are_declared(model_class: type[Model]) -> None:
    """Weights that the constructor takes from elsewhere are declared in `pretrained`."""
    begun = initial_state(lambda: new_model(model_class))
    assert not begun.undeclared, (
        f"it starts with numbers that were learnt or computed elsewhere: {begun.named}; declare them, as in "
        f"pretrained = {{'{begun.undeclared[0]}': 'what they are and where they come from'}}; until then runs are "
        "unranked"
    )


def check_save_load(model_class: type[Model]) -> None:
    """Weights that are saved and loaded into a new model give bit-equal outputs."""
    model, batch = fitted(model_class), unseen_batch(2)
    with tempfile.TemporaryDirectory(dir=temporary_place()) as folder:
        save_model(model, Path(folder), name="model", options={}, fit_key="")
        again = new_model(model_class, seed=1).eval()
        load_weights(again, Path(folder) / WEIGHTS)
    expected = answers_of(model, batch)
    for label, answer in answers_of(again, batch).items():
        same = torch.equal(answer.nan_to_num(), expected[label].nan_to_num())
        assert same, f"the {label} differs after saving and loading; are all learnt values in parameters and buffers?"


def check_resume(model_class: type[Model]) -> None:
    """A training that is interrupted after an epoch and resumed gives the same weights (models with gradients).

    Everything that `prepare` learns must be in buffers: plain attributes are lost when a training is resumed.
    """
    if not new_model(model_class).learns_by_gradients:
        return
    from safetensors.torch import load_file

    batches = example_batches()
    require_losses(new_model(model_class), batches)
    with tempfile.TemporaryDirectory(dir=temporary_place()) as folder:
        for epochs, name in ((2, "whole"), (1, "state"), (2, "state")):
            train(
                new_model(model_class),
                batches,
                batches,
                epochs=epochs,
                patience=0,
                state_file=Path(folder) / name,
                progress=Silent(),
                save_every_s=0.0,
            )
        # compare the last weights: the best ones may be those of the first epoch in both
        whole, continued = (load_file(Path(folder) / name) for name in ("whole", "state"))
    for name, value in whole.items():
        assert torch.equal(value, continued[name]), f"'{name}' differs after a training was continued"


def check_seed(model_class: type[Model]) -> None:
    """The same seed gives the same model."""
    first, second = fitted(model_class), fitted(model_class)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), f"'{name}' differs between two equal trainings"
