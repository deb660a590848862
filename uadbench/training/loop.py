"""Training of models that learn by gradients: validation, best weights, early stopping, exact resuming."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uadbench.cohorts.batches import Batches
from uadbench.errors import Unfinished
from uadbench.models.base import Model, ReconstructionModel
from uadbench.models.checkpoint import require_header_of, write_tensors
from uadbench.models.precision import available, computing_in
from uadbench.runtime.files import keyed_seed
from uadbench.runtime.profiling import phase
from uadbench.runtime.progress import Progress
from uadbench.types import Batch, Precision

LARGEST_STATE = 64 << 20
"""Largest header of a state file, in bytes; it holds the curve and settings of the optimisers."""

SAVE_EVERY_S = 15.0
REVISION = 2
"""Increase it whenever the same model, scans and seed would end with other weights."""


@dataclass
class Curve:
    """The training curve, with one entry per finished epoch in each list.

    Attributes:
        losses: Mean of each named loss over the training scans.
        validation_mse: Reconstruction error of healthy validation scans; None if not computed.
        seconds: Wall-clock seconds, including earlier parts of a resumed training.
        cpu_seconds: Seconds of all processor cores, including earlier parts of a resumed training.
        precision: Precision of the latest epochs: see `precision.available`.
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    validation_mse: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    precision: Precision = "float32"

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 0, with the lowest validation error; None if no error was computed."""
        errors = [(value, epoch) for epoch, value in enumerate(self.validation_mse) if value is not None]
        return min(errors)[1] if errors else None


def train(
    model: Model,
    training: Batches,
    validation: Batches,
    *,
    epochs: int,
    patience: int,
    state_file: Path,
    progress: Progress,
    precision: Precision = "float32",
    save_every_s: float = SAVE_EVERY_S,
) -> Curve:
    """Train a model; afterwards it has the weights of its best validation epoch.

    The validation error is the MSE of the reconstruction of healthy validation scans. A model without a reconstruction,
    or that is not `monitored`, keeps the weights of its last epoch. At the end of an epoch, at most every
    `save_every_s` seconds, the loop writes its whole state to `state_file`, and it continues from such a file. All
    random numbers are a function of (seed, epoch), so that an interrupted and an uninterrupted training end with the
    same weights.

    Args:
        model: The model; it is trained in place.
        training: Healthy training scans.
        validation: Healthy validation scans.
        epochs: Largest number of epochs.
        patience: Epochs without a better validation error after which training stops; 0 for never.
        state_file: File of the state to continue from.
        progress: Reports progress.
        precision: "bf16" computes losses in mixed precision if the device supports it; the validation error is always
            computed in float32.
        save_every_s: Shortest interval between two saved states, in seconds.

    Returns:
        The training curve.

    Raises:
        Unfinished: If a loss is not finite or the validation error is NaN.
    """
    state = _State(model, state_file)
    precision = available(precision, torch.device(training.device))
    if not state.load():
        torch.manual_seed(keyed_seed("prepare", training.seed))
        model.train()
        model.prepare(training)
    state.curve.precision = precision
    saved_at = time.monotonic()
    with progress.task(f"training {model.registered_name}", epochs) as task:
        if state.epoch:
            progress.notice(f"{model.registered_name}: training continues after epoch {state.epoch}")
            task.advance(state.epoch)
        while state.epoch < epochs and not _is_stale(state.curve, patience):
            started, computed = time.monotonic(), time.process_time()
            state.anneal(epochs)
            losses = _one_epoch(model, state.optimisers, training.shuffled(state.epoch), precision)
            error = validation_mse(model, validation) if model.monitored else None
            if error is not None and math.isnan(error):
                raise Unfinished(f"{model.registered_name}: the validation error is NaN after epoch {state.epoch + 1}")
            state.curve.losses.append(losses)
            state.curve.validation_mse.append(error)
            state.curve.seconds += time.monotonic() - started
            state.curve.cpu_seconds += time.process_time() - computed
            if error is None or state.curve.best_epoch == state.epoch:
                state.keep_best()
            state.epoch += 1
            task.advance(1, "" if error is None else f"validation MSE {error:.5f}")
            if time.monotonic() - saved_at > save_every_s:
                state.save()
                saved_at = time.monotonic()
    model.load_state_dict(state.best)
    model.eval()
    with torch.no_grad():
        model.finish(training)
    return state.curve


@torch.no_grad()
def validation_mse(model: Model, validation: Batches) -> float | None:
    """Mean over scans of the MSE between healthy scans and their reconstructions; None if the model gives none."""
    if not isinstance(model, ReconstructionModel):
        return None
    model.eval()
    total, count = 0.0, 0
    for batch in validation:
        with phase("validation passes"):
            restored = model.reconstruct(replace(batch, images=batch.images.clone())).float()  # it may change them
        errors = (restored - batch.images).square().flatten(1).mean(1, dtype=torch.float64)
        total += float(errors.sum())
        count += len(batch)
    return total / count


def _one_epoch(
    model: Model, optimisers: dict[str, torch.optim.Optimizer], batches: Batches, precision: Precision
) -> dict[str, float]:
    """Train for one pass over the training scans; returns the mean of each named loss."""
    torch.manual_seed(keyed_seed("epoch", batches.seed, batches.shuffle))
    model.train()
    sums: dict[str, float] = {}
    for batch in batches:
        with phase("training steps"):
            for name, loss in _checked_losses(model, batch, precision):
                optimiser = optimisers[name]
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
    return {name: total / len(batches) for name, total in sums.items()}


def _checked_losses(model: Model, batch: Batch, precision: Precision) -> Iterator[tuple[str, Tensor]]:
    """Yield the model's losses, each computed on demand; only the losses are computed in mixed precision."""
    losses = model.losses(batch)
    while True:
        with computing_in(precision, batch.images.device):
            named_loss = next(losses, None)
        if named_loss is None:
            return
        name, loss = named_loss
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Unfinished(f"{model.registered_name}: loss '{name}' is {value}; a lower learning rate may help")
        yield name, loss


def _is_stale(curve: Curve, patience: int) -> bool:
    best = curve.best_epoch
    return patience > 0 and best is not None and len(curve.validation_mse) - 1 - best >= patience


class _State:
    """The state that a training continues from: weights, best weights, optimisers, curve, epoch."""

    def __init__(self, model: Model, file: Path) -> None:
        self.model = model
        self.file = file
        self.optimisers = model.optimisers()
        self.best: dict[str, Tensor] = {}
        self.curve = Curve()
        self.epoch = 0
        self.rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimisers.items()}

    def anneal(self, epochs: int) -> None:
        """Set the learning rates of the next epoch, which depend only on its number."""
        factor = self.model.learning_rate_factor(self.epoch / epochs)
        for name, optimiser in self.optimisers.items():
            for group, rate in zip(optimiser.param_groups, self.rates[name], strict=True):
                group["lr"] = factor * rate

    def keep_best(self) -> None:
        self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def save(self) -> None:
        """Write one safetensors file, with everything but tensors as JSON in its header, and a hash of both."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        groups: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for name, optimiser in self.optimisers.items():
            whole = optimiser.state_dict()
            groups[name] = whole["param_groups"]
            for index, slots in whole["state"].items():
                for slot, value in slots.items():
                    key = "\t".join(("optimiser", name, str(index), slot))
                    (tensors if isinstance(value, Tensor) else plain)[key] = value
        header = json.dumps({"epoch": self.epoch, "curve": asdict(self.curve), "groups": groups, "plain": plain})
        write_tensors(self.file, tensors, {"json": header, "sha256": _hash(tensors, header)})

    def load(self) -> bool:
        """Restore the state from the file, if it exists and is undamaged; returns whether it was restored."""
        from safetensors import SafetensorError, safe_open

        try:
            require_header_of(self.file, LARGEST_STATE)
            with safe_open(self.file, "pt") as opened:
                metadata = opened.metadata()
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
            header = json.loads(metadata["json"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
            return False
        if metadata.get("sha256") not in (None, _hash(tensors, metadata["json"])):
            return False
        self.model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        self.best = {k.removeprefix("best/"): v for k, v in tensors.items() if k.startswith("best/")}
        for name, optimiser in self.optimisers.items():
            state: dict[int, dict[str, Any]] = {}
            for key, value in {**tensors, **header["plain"]}.items():
                if key.startswith(f"optimiser\t{name}\t"):
                    _, _, index, slot = key.split("\t")
                    state.setdefault(int(index), {})[slot] = value
            optimiser.load_state_dict({"state": state, "param_groups": header["groups"][name]})
            _lay_out_like_weights(optimiser)
        self.curve = Curve(**header["curve"])
        self.epoch = int(header["epoch"])
        return True


def _hash(tensors: Mapping[str, Tensor], header: str) -> str:
    """SHA-256 (hex) of the names, types, shapes and bytes of tensors, and of the header."""
    digest = hashlib.sha256(header.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _lay_out_like_weights(optimiser: torch.optim.Optimizer) -> None:
    """Store the optimiser's tensors in the memory layout of their weights, as fused kernels require."""
    for weight, slots in optimiser.state.items():
        for slot, value in slots.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                slots[slot] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
