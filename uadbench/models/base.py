"""Base classes that define the contract of a model, and small functions that models share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uadbench.types import Batch, Grid


class Model(nn.Module):
    """Base class of every model: maps a scan to a score per voxel that is high where hypometabolism is suspected.

    A subclass takes the grid and typed options in its constructor, defines `anomaly_map` (or
    `reconstruct`, see ReconstructionModel), and learns either by gradients (`losses`) or in
    closed form (`fit`); a model that learns nothing defines neither. Everything that is learnt
    is stored in parameters and buffers. The harness controls device, precision and batch size, and
    calls inference in eval mode without gradients. Inference is deterministic; a stochastic model
    derives its random numbers from `batch.seeds` (see `seeded_normal`).

    Attributes:
        reference: The publication that the model follows.
        family: The family under which `uadbench list models` shows the model (see `families`), or ""; in no key.
        recipes: Protocol name -> options chosen for the budget of this protocol; options set by the user take
            precedence.
        extra: The extra of pyproject.toml that the model requires (see `extras`), or "".
        monitored: Whether the reconstruction error of healthy validation scans is computed after every epoch and
            selects the weights. If False, the weights of the last epoch are kept. False is right where this error says
            little about training (a denoiser copies a scan without noise) or costs more than training (diffusion).
        pretrained: Tensors that the constructor takes from elsewhere, learnt or computed: the name of a tensor, or of a
            module that holds several -> what they are and where they come from. A model that starts with undeclared
            ones is unranked.
        registered_name: The name under which the model is registered; set by the registry.
    """

    reference: ClassVar[str] = ""
    family: ClassVar[str] = ""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    extra: ClassVar[str] = ""
    monitored: ClassVar[bool] = True
    pretrained: ClassVar[Mapping[str, str]] = {}
    registered_name: ClassVar[str] = ""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def anomaly_map(self, batch: Batch) -> Tensor:
        """Anomaly score per voxel, (N, 1, X, Y, Z) float32, signed and unclipped: higher = more suspicious."""
        raise NotImplementedError

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn in closed form from healthy scans; `batches` may be iterated more than once."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Process the healthy training scans once, before the first gradient step (optional)."""

    def finish(self, batches: Iterable[Batch]) -> None:
        """Process the healthy training scans once more, in eval mode, after the last gradient step (optional)."""

    def learning_rate_factor(self, share: float) -> float:
        """Factor on every learning rate once this share (0..1) of the epochs is complete."""
        return 1.0

    @classmethod
    def parts(cls, options: Mapping[str, Any]) -> tuple[type[Model], ...]:
        """The classes of other models that a model with these options contains; their code counts as part of it."""
        return ()

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield pairs (optimiser name, scalar loss); the loop steps that optimiser before it requests the next pair."""
        raise NotImplementedError

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by the names that `losses` yields."""
        raise NotImplementedError

    @property
    def reconstructs(self) -> bool:
        """Whether the model gives a pseudo-healthy reconstruction, which is then scored."""
        return isinstance(self, ReconstructionModel)

    @property
    def learns_by_gradients(self) -> bool:
        """Whether the training loop, rather than `fit`, trains the model."""
        return type(self).losses is not Model.losses


class ReconstructionModel(Model):
    """Base class of models that reconstruct a pseudo-healthy version of their input.

    The anomaly map is the reconstruction minus the input, unless a subclass defines its own.
    """

    def reconstruct(self, batch: Batch) -> Tensor:
        """The pseudo-healthy version of `batch.images`, (N, 1, X, Y, Z) float32, normalised units."""
        raise NotImplementedError

    def anomaly_map(self, batch: Batch) -> Tensor:
        """x̂' - x', (N, 1, X, Y, Z) float32: positive where uptake is lower than in the reconstruction."""
        return self.reconstruct(batch) - batch.images


def mean_image(batches: Iterable[Batch]) -> Tensor:
    """The voxelwise mean of all images, (X, Y, Z) float64 (sums within a batch are float32)."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for batch in batches:
        total = total.to(batch.images.device) + batch.images[:, 0].sum(0).double()
        count += len(batch)
    return total / count


def seeded_normal(seeds: Sequence[int], shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise, (N, *shape) float32; row i depends only on seeds[i]."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows).to(device)


def cosine(share: float) -> float:
    """Cosine decay from 1 to 0 over the training (Loshchilov and Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015) with its default constants, in one fused kernel."""
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
