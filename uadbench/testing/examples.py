"""Small example scans, and models briefly trained on them, for the checks."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uadbench.cohorts.batches import Batches, make_batch
from uadbench.models.base import Model, ReconstructionModel
from uadbench.runtime.files import temporary_place
from uadbench.runtime.progress import Silent
from uadbench.space import atlas
from uadbench.training.loop import train
from uadbench.types import Batch, Grid, Intensity, Scan

SMALL = Grid((16, 16, 16), 10.0, (-76.0, -91.0, -66.0))
"""A grid on which a check takes about a second."""

INTENSITY = Intensity(0.0, 2.0)
RECIPE = "quick"


def example_scans(count: int, grid: Grid = SMALL) -> list[Scan]:
    """Volumes that resemble healthy scans (a smooth brain with random gain and noise), one seed per scan."""
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
    """Batches of the example scans."""
    scans = example_scans(count, grid)
    return Batches(scans, [INTENSITY] * count, batch_size, seed=0)


def unseen_batch(count: int) -> Batch:
    """A batch of scans that `fitted` does not train on, (count, 1, 16, 16, 16)."""
    scans = example_scans(10 + count)[10:]
    return make_batch([scan.data for scan in scans], [INTENSITY] * count, scans, list(range(count)))


def make(model_class: type[Model], grid: Grid = SMALL) -> Model:
    """Create a model with the options of its `quick` recipe."""
    return model_class(grid, **model_class.recipes.get(RECIPE, {}))


def new_model(model_class: type[Model], grid: Grid = SMALL, seed: int = 0) -> Model:
    """Create such a model with weights drawn from `seed`, independently of earlier draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(model_class, grid)


def fitted(model_class: type[Model], grid: Grid = SMALL, epochs: int = 2) -> Model:
    """Create a model, train it briefly on the example scans, and return it in eval mode.

    Raises:
        AssertionError: If it cannot be trained, for example because a loss is not a tensor or an optimiser is missing.
    """
    model, batches = new_model(model_class, grid), example_batches(grid=grid)
    if model.learns_by_gradients:
        require_losses(new_model(model_class, grid), batches)
        with tempfile.TemporaryDirectory(dir=temporary_place()) as folder:
            state = Path(folder) / "state.safetensors"
            train(model, batches, batches, epochs=epochs, patience=0, state_file=state, progress=Silent())
    else:
        torch.manual_seed(0)
        with torch.no_grad():
            model.fit(batches)
    return model.eval()


def require_losses(model: Model, batches: Batches) -> None:
    """Raise AssertionError if the losses cannot be used for a training step, or the outputs are not tensors."""
    model.prepare(batches)
    batch = next(iter(batches))
    answers_of(model.eval(), batch)
    model.train()
    optimisers = model.optimisers()
    named = 0
    for name, loss in model.losses(batch):
        named += 1
        assert name in optimisers, f"losses yields '{name}', but optimisers has only: {', '.join(optimisers) or 'none'}"
        assert isinstance(loss, Tensor), f"loss '{name}' is {_kind(loss)}, not a tensor"
        assert loss.ndim == 0, f"loss '{name}' is not a scalar: its shape is {tuple(loss.shape)}"
        assert loss.requires_grad, f"loss '{name}' depends on no parameter: was it detached, or computed in NumPy?"
    assert named, "losses yields nothing"


@torch.no_grad()
def answers_of(model: Model, batch: Batch) -> dict[str, Tensor]:
    """The outputs of a model for a batch, by name, (N, 1, X, Y, Z) each.

    Raises:
        AssertionError: If an output is not a tensor, or has a different shape from the images.
    """
    outputs: dict[str, Tensor] = {}
    if isinstance(model, ReconstructionModel):
        outputs["reconstruction"] = _checked("reconstruct", model.reconstruct(batch), batch)
    outputs["anomaly map"] = _checked("anomaly_map", model.anomaly_map(batch), batch)
    return outputs


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def generator_states() -> dict[str, bytes]:
    """The states of the global generators, by library."""
    return {
        "Python": repr(random.getstate()).encode(),
        "NumPy": repr(
            [part if isinstance(part, (str, int, float)) else part.tobytes() for part in np.random.get_state()]
        ).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def _checked(method: str, answer: object, batch: Batch) -> Tensor:
    assert isinstance(answer, Tensor), f"{method} returns {_kind(answer)}, not a tensor"
    shape, expected = tuple(answer.shape), tuple(batch.images.shape)
    assert shape == expected, f"{method} returns shape {shape}; the images have {expected}"
    return answer


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
