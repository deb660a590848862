"""The contract of a model, and how its weights are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uadbench.types import Batch, Grid


class Model(nn.Module):
    """What every model is: it says, per voxel, how suspicious of hypometabolism a scan looks.

    A subclass takes the grid and typed options in its constructor, defines `anomaly_map` (or
    `reconstruct`, see ReconstructionModel), and learns either by gradients (`losses`) or in
    closed form (`fit`); a model that learns nothing defines neither. Everything that was learnt
    lives in parameters and buffers. The harness owns device, precision and batch size, and calls
    inference in eval mode without gradients. Inference is deterministic; a stochastic model draws
    from `batch.seeds` (see `seeded_normal`).

    Attributes:
        reference: The publication that the model follows.
        recipes: Protocol name -> options that this protocol's budget calls for; what the user sets wins.
        extra: The extra of pyproject.toml without which the model cannot be made (see `extras`), or "".
        monitored: Whether the reconstruction error of healthy validation scans is computed after every epoch and
            chooses the weights. False where it says little of what is learnt (a denoiser copies a scan without noise)
            or costs more than the training (diffusion): the last weights stay.
        pretrained: Tensors that the constructor takes from elsewhere, learnt or computed: the name of one, or of a
            module that holds several -> what they are and where they come from. A model that arrives with others is
            unranked.
        registered_name: The name it is registered under, set by the registry.
    """

    reference: ClassVar[str] = ""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    extra: ClassVar[str] = ""
    monitored: ClassVar[bool] = True
    pretrained: ClassVar[Mapping[str, str]] = {}
    registered_name: ClassVar[str] = ""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def anomaly_map(self, batch: Batch) -> Tensor:
        """Suspicion per voxel, (N, 1, X, Y, Z) float32, signed, unclipped: higher = more suspicious."""
        raise NotImplementedError

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn in closed form from healthy scans; `batches` may be iterated more than once."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Look at the healthy training scans once, before the first gradient step (optional)."""

    def finish(self, batches: Iterable[Batch]) -> None:
        """Look at the healthy training scans once more, in eval mode, after the last gradient step (optional)."""

    def learning_rate_factor(self, share: float) -> float:
        """What every learning rate is multiplied by when this share (0..1) of the epochs is done."""
        return 1.0

    @classmethod
    def parts(cls, options: Mapping[str, Any]) -> tuple[type[Model], ...]:
        """Other models that one with these options is made of: their code counts as its own."""
        return ()

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield (optimiser name, scalar loss); the loop steps that optimiser before asking for the next."""
        raise NotImplementedError

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers that `losses` names."""
        raise NotImplementedError

    @property
    def reconstructs(self) -> bool:
        """Whether the model has a pseudo-healthy reconstruction to be scored."""
        return isinstance(self, ReconstructionModel)

    @property
    def learns_by_gradients(self) -> bool:
        """Whether the training loop, rather than `fit`, teaches the model."""
        return type(self).losses is not Model.losses


class ReconstructionModel(Model):
    """A model that gives the pseudo-healthy version of its input; its map is what the input lacks."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """The pseudo-healthy version of `batch.images`, (N, 1, X, Y, Z) float32, normalised units."""
        raise NotImplementedError

    def anomaly_map(self, batch: Batch) -> Tensor:
        """x̂' - x': positive where uptake is lower than the reconstruction says it should be."""
        return self.reconstruct(batch) - batch.images


def mean_image(batches: Iterable[Batch]) -> Tensor:
    """The mean of all images, voxel by voxel, (X, Y, Z) float64 (summed in float32 within a batch)."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for batch in batches:
        total = total.to(batch.images.device) + batch.images[:, 0].sum(0).double()
        count += len(batch)
    return total / count


def seeded_normal(seeds: Sequence[int], shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise (N, *shape) in which row i depends on seeds[i] alone."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows).to(device)


def cosine(share: float) -> float:
    """Half a cosine from 1 to 0 over a training (Loshchilov and Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015) with its usual constants, fused into one kernel."""
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
