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
    """What a model says of a batch: its reconstruction, if it has one, and its native map, (N, X, Y, Z)."""

    reconstruction: Tensor | None
    anomaly_map: Tensor


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

    The model is given a copy of the images: it is scored against what they were, whatever it does to them.

    Raises Unfinished if an answer has another shape than the images or is not finite.
    """
    given = replace(batch, images=batch.images.clone())
    started = time.perf_counter()
    restored = model.reconstruct(given).float() if isinstance(model, ReconstructionModel) else None
    if restored is not None:
        _require_shape(model, "reconstruction", restored, batch)
    if restored is not None and type(model).anomaly_map is ReconstructionModel.anomaly_map:
        suspicion = restored - batch.images
    else:
        suspicion = model.anomaly_map(given).float()
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
    return Observation(None if restored is None else restored[:, 0], suspicion[:, 0])


def _require_shape(model: Model, label: str, answer: Tensor, batch: Batch) -> None:
    if answer.shape != batch.images.shape:
        raise Unfinished(
            f"{model.registered_name}: its {label} has shape {tuple(answer.shape)}, the images have "
            f"{tuple(batch.images.shape)}; 'uadbench test-model' tells more"
        )
