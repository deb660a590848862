"""Inference: runs a model on a batch, checks its reconstruction and anomaly map, and measures the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uadbench.errors import Unfinished
from uadbench.models.base import Model, ReconstructionModel
from uadbench.types import Batch


@dataclass(frozen=True)
class Observation:
    """The input and the output of a model.

    Attributes:
        images: (N, X, Y, Z) float32, normalised units.
        reconstruction: (N, X, Y, Z) float32, normalised units; None for a model that has none.
        anomaly_map: (N, X, Y, Z) float32, the native map: signed, higher = more suspicious.
    """

    images: Tensor
    reconstruction: Tensor | None
    anomaly_map: Tensor

    def part(self, piece: slice) -> Observation:
        """The part of the N images and outputs in a slice, without copying."""
        reconstruction = None if self.reconstruction is None else self.reconstruction[piece]
        return Observation(self.images[piece], reconstruction, self.anomaly_map[piece])


@dataclass
class Stopwatch:
    """The total time that the model has taken, and the number of scans."""

    seconds: float = 0.0
    scans: int = 0

    @property
    def per_scan(self) -> float | None:
        """Seconds per scan; None before the first scan."""
        return self.seconds / self.scans if self.scans else None


@torch.no_grad()
def observe(model: Model, batch: Batch, watch: Stopwatch | None = None) -> Observation:
    """Run a model on a batch, computing the reconstruction only once.

    The model receives a copy of the images, which it may change; scores use the original.

    Args:
        model: The model, in eval mode, on the device of the batch.
        batch: N scans, images (N, 1, X, Y, Z) float32 in normalised units.
        watch: Stopwatch to which the time of the model is added.

    Returns:
        The images and the outputs, without the channel dimension.

    Raises:
        Unfinished: If an output has a different shape from the images or is not finite.
    """
    copied = replace(batch, images=batch.images.clone())
    started = time.perf_counter()
    restored = model.reconstruct(copied).detach().float() if isinstance(model, ReconstructionModel) else None
    if restored is not None:
        _require_shape(model, "reconstruction", restored, batch)
    if restored is not None and type(model).anomaly_map is ReconstructionModel.anomaly_map:
        suspicion = restored - batch.images
    else:
        suspicion = model.anomaly_map(copied).detach().float()  # views of parameters keep requires_grad
    if watch is not None:
        if batch.images.is_cuda:
            torch.cuda.synchronize()
        watch.seconds += time.perf_counter() - started
        watch.scans += len(batch)
    _require_shape(model, "anomaly map", suspicion, batch)
    for label, answer in (("reconstruction", restored), ("anomaly map", suspicion)):
        if answer is None:
            continue
        if not answer.sum().isfinite() and not answer.isfinite().all():  # the sum needs no memory, but may overflow
            raise Unfinished(f"{model.registered_name}: its {label} has voxels that are not finite")
    return Observation(batch.images[:, 0], None if restored is None else restored[:, 0], suspicion[:, 0])


def _require_shape(model: Model, label: str, answer: Tensor, batch: Batch) -> None:
    if answer.shape != batch.images.shape:
        raise Unfinished(
            f"{model.registered_name}: its {label} has shape {tuple(answer.shape)}, the images have "
            f"{tuple(batch.images.shape)}; 'uadbench test-model' reports more"
        )
