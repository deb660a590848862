"""Asking a model: its reconstruction and its map of a batch, checked and timed."""

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
    """What a model was shown, and what it answered.

    Attributes:
        images: (N, X, Y, Z) float32, normalised units.
        reconstruction: (N, X, Y, Z) float32, normalised units; None for a model that has none.
        anomaly_map: (N, X, Y, Z) float32, the native map: signed, higher = more suspicious.
    """

    images: Tensor
    reconstruction: Tensor | None
    anomaly_map: Tensor

    def part(self, piece: slice) -> Observation:
        """Some of the N images with their answers; nothing is copied."""
        reconstruction = None if self.reconstruction is None else self.reconstruction[piece]
        return Observation(self.images[piece], reconstruction, self.anomaly_map[piece])


@dataclass
class Stopwatch:
    """How long the model itself took, over how many scans."""

    seconds: float = 0.0
    scans: int = 0

    @property
    def per_scan(self) -> float | None:
        """Seconds a scan; None before the first."""
        return self.seconds / self.scans if self.scans else None


@torch.no_grad()
def observe(model: Model, batch: Batch, watch: Stopwatch | None = None) -> Observation:
    """Ask a model for reconstruction and map, computing a reconstruction only once.

    The model is given a copy of the images, and is scored against the original: it may change its input.

    Args:
        model: In eval mode, on the device of the batch.
        batch: N scans, images (N, 1, X, Y, Z) float32 in normalised units.
        watch: Where the time that the model takes is added.

    Returns:
        The images and the answers, without the channel.

    Raises:
        Unfinished: If an answer has another shape than the images or is not finite.
    """
    given = replace(batch, images=batch.images.clone())
    started = time.perf_counter()
    restored = model.reconstruct(given).detach().float() if isinstance(model, ReconstructionModel) else None
    if restored is not None:
        _require_shape(model, "reconstruction", restored, batch)
    if restored is not None and type(model).anomaly_map is ReconstructionModel.anomaly_map:
        suspicion = restored - batch.images
    else:
        suspicion = model.anomaly_map(given).detach().float()  # a view of a parameter keeps asking for gradients
    if watch is not None:
        if batch.images.is_cuda:
            torch.cuda.synchronize()
        watch.seconds += time.perf_counter() - started
        watch.scans += len(batch)
    _require_shape(model, "anomaly map", suspicion, batch)
    for label, answer in (("reconstruction", restored), ("anomaly map", suspicion)):
        if answer is None:
            continue
        if not answer.sum().isfinite() and not answer.isfinite().all():  # the sum takes no memory, and may overflow
            raise Unfinished(f"{model.registered_name}: its {label} has voxels that are not finite")
    return Observation(batch.images[:, 0], None if restored is None else restored[:, 0], suspicion[:, 0])


def _require_shape(model: Model, label: str, answer: Tensor, batch: Batch) -> None:
    if answer.shape != batch.images.shape:
        raise Unfinished(
            f"{model.registered_name}: its {label} has shape {tuple(answer.shape)}, the images have "
            f"{tuple(batch.images.shape)}; 'uadbench test-model' tells more"
        )
