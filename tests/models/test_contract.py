"""Every registered model keeps the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn

from uadbench import registry
from uadbench.models.base import Model, ReconstructionModel, adam
from uadbench.testing import CHECKS
from uadbench.types import Batch, Grid


@pytest.mark.parametrize("name", registry.models.names())
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(name: str, check: Callable[[type[Model]], None]) -> None:
    check(registry.models.get(name))


class Sound(ReconstructionModel):
    """A model that breaks nothing; the faulty ones below each break one thing of it."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid)
        self.gain = nn.Parameter(torch.ones(1))
        self.rate = rate

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", (self.reconstruct(batch) - batch.images.mean()).square().mean()

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"all": adam(self.parameters(), self.rate)}


class WrongShape(Sound):
    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images.mean(dim=4, keepdim=True)


class Untyped(Sound):
    def __init__(self, grid, rate=0.1):  # type: ignore[no-untyped-def]
        super().__init__(grid, rate)


class LooksAtNeighbours(Sound):
    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images.mean(dim=0, keepdim=True).expand_as(batch.images)


class ChangesInput(Sound):
    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images.mul_(0.5)


class Random(Sound):
    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images + torch.randn(1)


class Idle(Sound):
    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.idle = nn.Parameter(torch.ones(1))


class Forgets(Sound):
    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.secret = float(torch.rand(1))

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images + self.secret


class NotFinite(Sound):
    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images / 0.0


class Doubles(Sound):
    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images.double()


class LosesItsPreparation(Sound):
    """What it learns in `prepare` is no buffer, so a continued training does not have it."""

    scale = 1.0

    def prepare(self, batches: Iterable[Batch]) -> None:
        self.scale = -1.0

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", self.scale * self.reconstruct(batch).mean()


BROKEN = [
    Doubles,
    LosesItsPreparation,
    WrongShape,
    Untyped,
    LooksAtNeighbours,
    ChangesInput,
    Random,
    Idle,
    Forgets,
    NotFinite,
]


def complaints(model: type[Model]) -> list[str]:
    found = []
    for check in CHECKS:
        try:
            check(model)
        except Exception as error:
            found.append(f"{check.__name__}: {error}")
    return found


def test_a_sound_model_passes() -> None:
    assert complaints(Sound) == []


@pytest.mark.parametrize("model", BROKEN, ids=lambda model: model.__name__)
def test_a_broken_model_is_found(model: type[Model]) -> None:
    assert complaints(model)
