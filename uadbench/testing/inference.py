"""Checks of a model's outputs: shape and values, determinism, and independence of scans in a batch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import torch
from torch import Tensor

from uadbench.models.base import Model
from uadbench.testing.examples import (
    answers_of,
    fitted,
    generator_states,
    global_generators,
    make,
    unseen_batch,
)
from uadbench.types import Batch

CLOSE = 1e-4
"""Tolerance relative to the largest output, for float32 rounding by kernels that depend on the batch size."""


def check_output(model_class: type[Model]) -> None:
    """Reconstruction and map have the shape of the images and finite float32 values."""
    for label, answer in answers_of(fitted(model_class), unseen_batch(3)).items():
        assert answer.dtype == torch.float32, f"the {label} is {str(answer.dtype).removeprefix('torch.')}, not float32"
        wrong = int((~answer.isfinite()).sum())
        assert not wrong, f"the {label} has {wrong} of {answer.numel()} voxels that are not finite"


def check_batch_independence(model_class: type[Model]) -> None:
    """The output for a scan is the same alone, in a batch, and in another order (to float32 rounding)."""
    model, batch = fitted(model_class), unseen_batch(4)
    together = answers_of(model, batch)
    for label, answer in answers_of(model, _pick(batch, [3, 1, 2, 0])).items():
        _close(answer, together[label][[3, 1, 2, 0]], f"the {label} depends on the order of the batch")
    for label, answer in answers_of(model, _pick(batch, [2])).items():
        _close(answer, together[label][[2]], f"the {label} of a scan depends on its batch")


def check_input_untouched(model_class: type[Model]) -> None:
    """Inference changes neither its input nor the model."""
    model, batch = fitted(model_class), unseen_batch(2)
    images = batch.images.clone()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    answers_of(model, batch)
    assert torch.equal(batch.images, images), "inference changed its input; work on a copy"
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), f"inference changed '{name}'; is the model in eval mode?"


def check_inference_is_deterministic(model_class: type[Model]) -> None:
    """A second inference gives the same output, whatever the state of the global generators."""
    model, batch = fitted(model_class), unseen_batch(2)
    with global_generators(seed=1):
        first = answers_of(model, batch)
    with global_generators(seed=2):
        again = answers_of(model, batch)
    for label, answer in again.items():
        same = torch.equal(answer.nan_to_num(), first[label].nan_to_num())
        assert same, f"the {label} is random; draw from batch.seeds (models.base.seeded_normal)"


def check_missing_age_and_sex(model_class: type[Model]) -> None:
    """A scan with unknown age and sex (NaN) gets a finite output, since cohorts need not provide them."""
    model, batch = fitted(model_class), unseen_batch(2)
    unknown = torch.full((2,), float("nan"))
    with_both = answers_of(model, batch)
    for label, answer in answers_of(model, Batch(batch.images, unknown, unknown.clone(), batch.seeds)).items():
        spoilt = with_both[label].isfinite() & ~answer.isfinite()
        assert not spoilt.any(), f"the {label} is not finite where age and sex are unknown"


def check_quiet(model_class: type[Model]) -> None:
    """Nothing is printed to stdout, which is reserved for tables and `--json`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        answers_of(fitted(model_class), unseen_batch(1))
    text = printed.getvalue()
    assert not text, f"the model prints {text.strip()[:40]!r}; use logging, or warnings.warn"


def check_global_generators(model_class: type[Model]) -> None:
    """Neither constructor nor inference seeds the global generators, which would make all trainings equal."""
    model, batch = fitted(model_class), unseen_batch(1)
    calls: dict[str, Callable[[], object]] = {
        "the constructor": lambda: make(model_class),
        "inference": lambda: answers_of(model, batch),
    }
    for label, call in calls.items():
        after = []
        for seed in (1, 2):
            with global_generators(seed):
                call()
                after.append(generator_states())
        for library, state in after[0].items():
            assert state != after[1][library], (
                f"{label} sets the global seed of {library}; draw from a generator of your own"
            )


def _pick(batch: Batch, rows: list[int]) -> Batch:
    seeds = [batch.seeds[row] for row in rows]
    return Batch(batch.images[rows].clone(), batch.age[rows], batch.sex[rows], seeds)


def _close(answer: Tensor, expected: Tensor, complaint: str) -> None:
    reference = expected.nan_to_num()
    scale = float(reference.abs().max()) or 1.0
    difference = float((answer.nan_to_num() - reference).abs().max())
    assert difference <= CLOSE * scale, f"{complaint}: by {difference:.2g}, where answers are up to {scale:.2g}"
