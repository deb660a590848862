"""The contract of a model as checks that anybody can run on their own.

In a test file of another package::

    import pytest
    from uadbench.testing import CHECKS
    from mypackage import MyNet

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyNet)

Every check takes a model class and raises AssertionError with words that say what is wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uadbench import atlas
from uadbench.batches import Batches, make_batch
from uadbench.models.base import Model, ReconstructionModel
from uadbench.models.checkpoint import WEIGHTS, load_weights, save_model
from uadbench.observation import observe
from uadbench.progress import Silent
from uadbench.registry import options_of
from uadbench.training import train
from uadbench.types import Batch, Grid, Intensity, Scan

SMALL = Grid((16, 16, 16), 10.0, (-76.0, -91.0, -66.0))
"""A grid on which a check takes a second."""

INTENSITY = Intensity(0.0, 2.0)
RECIPE = "quick"


def example_scans(count: int, grid: Grid = SMALL) -> list[Scan]:
    """Healthy-looking volumes (a smooth brain with its own gain and noise), seeded one by one."""
    brain = atlas.brain_mask(grid).astype(np.float32)
    scans = []
    for index in range(count):
        rng = np.random.default_rng(index)
        noisy = brain * (1.0 + 0.1 * rng.standard_normal() + 0.05 * rng.standard_normal(grid.shape))
        data = np.clip(noisy, 0, None).astype(np.float32)
        extent = (float(data.min()), float(data.max()))
        age, sex = 60.0 + index, "FM"[index % 2]
        scans.append(Scan(f"sub-{index:03d}", "ses-M000", data, grid.affine, extent, age, sex, group="CN"))
    return scans


def example_batches(count: int = 6, batch_size: int = 3, grid: Grid = SMALL) -> Batches:
    """The example scans as batches."""
    scans = example_scans(count, grid)
    return Batches(scans, [INTENSITY] * count, batch_size, seed=0)


def fitted(model_class: type[Model], grid: Grid = SMALL, epochs: int = 2) -> Model:
    """A model of this class, taught for a moment on the example scans."""
    model = _new(model_class, grid)
    batches = example_batches(grid=grid)
    if model.learns_by_gradients:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state.safetensors"
            train(model, batches, batches, epochs=epochs, patience=0, state_file=state, progress=Silent())
    else:
        torch.manual_seed(0)
        with torch.no_grad():
            model.fit(batches)
    return model.eval()


def check_output(model_class: type[Model]) -> None:
    """Reconstruction and map have the shape of the images, float32 values, and are finite."""
    model, batch = fitted(model_class), _batch(3)
    with torch.no_grad():
        answers = {"anomaly map": model.anomaly_map(batch)}
        if isinstance(model, ReconstructionModel):
            answers["reconstruction"] = model.reconstruct(batch)
    for label, answer in answers.items():
        assert answer.shape == batch.images.shape, f"the {label} has shape {tuple(answer.shape)}"
        assert answer.dtype == torch.float32, f"the {label} is {answer.dtype}, not float32"
        assert torch.isfinite(answer).all(), f"the {label} has voxels that are not finite"


def check_options_are_typed(model_class: type[Model]) -> None:
    """Every option has a type and a default, so that `--set` can convert it and the model runs without."""
    for name, parameter in options_of(model_class).items():
        assert parameter.annotation is not parameter.empty, f"option '{name}' has no type"
        assert parameter.default is not parameter.empty, f"option '{name}' has no default"
    for recipe, options in model_class.recipes.items():
        unknown = set(options) - set(options_of(model_class))
        assert not unknown, f"recipe '{recipe}' sets {sorted(unknown)}, which are no options"


def check_batch_independence(model_class: type[Model]) -> None:
    """A scan's answer is the same alone, in a batch, and in another order (to float32 rounding)."""
    model, batch = fitted(model_class), _batch(4)
    together = _answers(model, batch)
    for label, answer in _answers(model, _pick(batch, [3, 1, 2, 0])).items():
        _close(answer, together[label][[3, 1, 2, 0]], f"the {label} depends on the order of the batch")
    for label, answer in _answers(model, _pick(batch, [2])).items():
        _close(answer, together[label][[2]], f"the {label} of a scan depends on its batch")


def check_input_untouched(model_class: type[Model]) -> None:
    """Inference changes neither its input nor the model."""
    model, batch = fitted(model_class), _batch(2)
    images = batch.images.clone()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _answers(model, batch)
    assert torch.equal(batch.images, images), "inference changed its input; work on a copy"
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), f"inference changed '{name}'; is the model in eval mode?"


def check_inference_is_deterministic(model_class: type[Model]) -> None:
    """Asked twice, a model answers the same, whatever the global generator does."""
    model, batch = fitted(model_class), _batch(2)
    torch.manual_seed(1)
    first = _answers(model, batch)
    torch.manual_seed(2)
    for label, answer in _answers(model, batch).items():
        assert torch.equal(answer, first[label]), f"the {label} is random; draw from batch.seeds"


def check_gradients_everywhere(model_class: type[Model]) -> None:
    """Every parameter gets a finite gradient from some loss (models that learn by gradients)."""
    model = _new(model_class, SMALL)
    if not model.learns_by_gradients:
        return
    batches = example_batches()
    model.prepare(batches)
    model.train()
    optimisers = model.optimisers()
    reached: set[str] = set()
    for name, loss in model.losses(next(iter(batches))):
        assert name in optimisers, f"loss '{name}' has no optimiser of that name"
        assert loss.ndim == 0, f"loss '{name}' is no scalar"
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        owned = {id(p) for group in optimisers[name].param_groups for p in group["params"]}
        for label, parameter in model.named_parameters():
            if id(parameter) in owned and parameter.grad is not None:
                assert torch.isfinite(parameter.grad).all(), f"the gradient of '{label}' is not finite"
                reached.add(label)
    left = [label for label, p in model.named_parameters() if p.requires_grad and label not in reached]
    assert not left, f"no loss reaches {left[:3]}"


def check_save_load(model_class: type[Model]) -> None:
    """Weights saved and loaded into a new model give bit-equal answers."""
    model, batch = fitted(model_class), _batch(2)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder), name="model", options={}, fit_key="")
        again = _new(model_class, SMALL, seed=1).eval()
        load_weights(again, Path(folder) / WEIGHTS)
    expected = _answers(model, batch)
    for label, answer in _answers(again, batch).items():
        assert torch.equal(answer, expected[label]), f"the {label} differs after saving and loading"


def check_resume(model_class: type[Model]) -> None:
    """A training that is stopped after an epoch and continued ends as one that was not (models with gradients).

    What `prepare` learns must live in buffers: plain attributes are lost when a training is continued.
    """
    if not _new(model_class, SMALL).learns_by_gradients:
        return
    from safetensors.torch import load_file

    batches = example_batches()
    with tempfile.TemporaryDirectory() as folder:
        for epochs, name in ((2, "whole"), (1, "state"), (2, "state")):
            train(
                _new(model_class, SMALL),
                batches,
                batches,
                epochs=epochs,
                patience=0,
                state_file=Path(folder) / name,
                progress=Silent(),
                save_every_s=0.0,
            )
        # the last weights, not the best, which may be those of the first epoch in both
        whole, continued = (load_file(Path(folder) / name) for name in ("whole", "state"))
    for name, value in whole.items():
        assert torch.equal(value, continued[name]), f"'{name}' differs after a training was continued"


def check_seed(model_class: type[Model]) -> None:
    """The same seed gives the same model."""
    first, second = fitted(model_class), fitted(model_class)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), f"'{name}' differs between two equal trainings"


CHECKS: tuple[Callable[[type[Model]], None], ...] = (
    check_output,
    check_options_are_typed,
    check_batch_independence,
    check_input_untouched,
    check_inference_is_deterministic,
    check_gradients_everywhere,
    check_save_load,
    check_resume,
    check_seed,
)


def _new(model_class: type[Model], grid: Grid, seed: int = 0) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(grid, **model_class.recipes.get(RECIPE, {}))


def _batch(count: int) -> Batch:
    """Scans that the fitted model has not seen."""
    scans = example_scans(10 + count)[10:]
    return make_batch([scan.data for scan in scans], [INTENSITY] * count, scans, list(range(count)))


def _pick(batch: Batch, rows: list[int]) -> Batch:
    seeds = [batch.seeds[row] for row in rows]
    return Batch(batch.images[rows].clone(), batch.age[rows], batch.sex[rows], seeds)


def _answers(model: Model, batch: Batch) -> dict[str, Tensor]:
    seen = observe(model, batch)
    answers = {"anomaly map": seen.anomaly_map}
    return answers if seen.reconstruction is None else answers | {"reconstruction": seen.reconstruction}


def _close(answer: Tensor, expected: Tensor, complaint: str) -> None:
    scale = float(expected.abs().max()) or 1.0
    difference: Any = float((answer - expected).abs().max())
    assert difference <= 1e-4 * scale, f"{complaint}: by {difference:.2g}"
