"""Every registered model keeps the contract."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uadbench import registry
from uadbench.models.base import Model, ReconstructionModel, adam
from uadbench.testing import CHECKS, examine
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
    """Its map has one slice."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images.mean(dim=4, keepdim=True)


class Nothing(Sound):
    """It computes, and forgets to return."""

    def reconstruct(self, batch: Batch) -> Tensor:  # type: ignore[return]
        self.gain * batch.images


class Doubles(Sound):
    """Its map is float64."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images.double()


class NotFinite(Sound):
    """It divides by zero when it is asked, and not when it learns."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images / 0.0


class Undocumented(Sound):
    pass


class Untyped(Sound):
    """Its option has no type."""

    def __init__(self, grid, rate=0.1):  # type: ignore[no-untyped-def]
        super().__init__(grid, rate)


class LooksAtNeighbours(Sound):
    """It answers with the mean of the batch."""

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images.mean(dim=0, keepdim=True).expand_as(batch.images)


class LooksAtPlaces(Sound):
    """It answers by the place in the batch."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images * torch.arange(len(batch)).view(-1, 1, 1, 1, 1)


class ChangesInput(Sound):
    """It works in place."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images.mul_(0.5)


class ChangesItself(Sound):
    """It counts how often it is asked, in a buffer."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.register_buffer("asked", torch.zeros(1))

    def anomaly_map(self, batch: Batch) -> Tensor:
        self.asked += 1
        return batch.images


class Random(Sound):
    """It draws from torch's generator."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images + torch.randn(1)


class RandomInNumpy(Sound):
    """It draws from NumPy's generator."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images + float(np.random.rand())


class RandomlyTaught(Sound):
    """It learns from noise that no seed governs."""

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", (self.reconstruct(batch) - float(np.random.rand())).square().mean()


class NeedsAge(Sound):
    """It adds the age."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        return batch.images + batch.age.view(-1, 1, 1, 1, 1)


class Talks(Sound):
    """It prints."""

    def reconstruct(self, batch: Batch) -> Tensor:
        print("I am here")
        return super().reconstruct(batch)


class SeedsAll(Sound):
    """It seeds torch when it is made."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        torch.manual_seed(7)
        super().__init__(grid, rate)


class SeedsWhenAsked(Sound):
    """It seeds Python when it is asked."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        random.seed(7)
        return batch.images * random.random()


class Idle(Sound):
    """It has a parameter that nothing uses."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.idle = nn.Parameter(torch.ones(1))


class Dead(Sound):
    """A layer behind a rectifier that is never open."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.closed = nn.Parameter(torch.full((1,), -9.0))

    def reconstruct(self, batch: Batch) -> Tensor:
        return super().reconstruct(batch) + torch.relu(self.closed)


class Arrives(Sound):
    """It holds what it has learnt elsewhere."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.register_buffer("prior", torch.tensor([0.3, 0.1, 0.2]))


class BeginsAtZero(Sound):
    """Two layers, one after the other, whose last begins at zero: the first moves after it."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.first, self.last = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def reconstruct(self, batch: Batch) -> Tensor:
        return super().reconstruct(batch) + self.last * self.first * batch.images.square()


class NoSuchOptimiser(Sound):
    """Its loss names an optimiser that there is not."""

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "al", self.reconstruct(batch).mean()


class Detached(Sound):
    """Its loss has no gradient."""

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", self.reconstruct(batch).detach().mean()


class ManyLosses(Sound):
    """Its loss is one number a voxel."""

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", self.reconstruct(batch).square()


class Forgets(Sound):
    """What it draws when it is made is no buffer."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, rate)
        self.secret = float(torch.rand(1))

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * batch.images + self.secret


class LosesItsPreparation(Sound):
    """What it learns in `prepare` is no buffer, so a continued training does not have it."""

    scale = 1.0

    def prepare(self, batches: Iterable[Batch]) -> None:
        self.scale = -1.0

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "all", self.scale * self.reconstruct(batch).mean()


class RestoresNothing(ReconstructionModel):
    """It says that it reconstructs, and does not."""


class FitsAndLearns(Sound):
    """It has both ways to learn, of which one is never called."""

    def fit(self, batches: Iterable[Batch]) -> None:
        self.gain.data.zero_()


class Raises(Sound):
    """Its layers do not fit together."""

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.gain * nn.functional.linear(batch.images, torch.ones(5, 5))


class DoesNotMake(Sound):
    """It cannot be made."""

    def __init__(self, grid: Grid, rate: float = 0.1) -> None:
        super().__init__(grid, "fast" * rate)  # type: ignore[operator]


class Exits(Sound):
    """It leaves."""

    def reconstruct(self, batch: Batch) -> Tensor:
        sys.exit("enough")


BROKEN = {
    WrongShape: ("output", r"anomaly_map returns shape \(3, 1, 16, 16, 1\); the images have \(3, 1, 16, 16, 16\)"),
    Nothing: ("output", "reconstruct returns None, not a tensor"),
    Doubles: ("output", "the anomaly map is float64, not float32"),
    NotFinite: ("output", r"the anomaly map has \d+ of 12288 voxels that are not finite"),
    Undocumented: ("documented", "class Undocumented has no docstring"),
    Untyped: ("options are typed", "option 'rate' has no type"),
    LooksAtNeighbours: ("batch independence", "the reconstruction of a scan depends on its batch: by"),
    LooksAtPlaces: ("batch independence", "the anomaly map depends on the order of the batch: by"),
    ChangesInput: ("input untouched", "inference changed its input; work on a copy"),
    ChangesItself: ("input untouched", "inference changed 'asked'"),
    Random: ("inference is deterministic", "the anomaly map is random; draw from batch.seeds"),
    RandomInNumpy: ("inference is deterministic", "the anomaly map is random"),
    RandomlyTaught: ("seed", "'gain' differs between two equal trainings"),
    NeedsAge: ("missing age and sex", "the anomaly map is not finite where age and sex are unknown"),
    Talks: ("quiet", "the model prints 'I am here"),
    SeedsAll: ("global generators", "the constructor sets the global seed of torch"),
    SeedsWhenAsked: ("global generators", "inference sets the global seed of Python"),
    Idle: ("gradients everywhere", "no loss whose optimiser owns it reaches 'idle'"),
    Arrives: ("weights are declared", r"it starts with .*: prior; declare them"),
    Dead: ("gradients everywhere", "the gradient is exactly zero in 12 steps of training for 'closed'"),
    NoSuchOptimiser: ("gradients everywhere", "losses yields 'al', but optimisers has only: all"),
    Detached: ("gradients everywhere", "loss 'all' depends on no parameter"),
    ManyLosses: ("gradients everywhere", "loss 'all' is not a scalar"),
    Forgets: ("save load", "the reconstruction differs after saving and loading"),
    LosesItsPreparation: ("resume", "'model/gain' differs after a training was continued"),
    RestoresNothing: ("defines what it needs", "reconstruct is not defined"),
    FitsAndLearns: ("defines what it needs", "losses and fit are both defined"),
    Raises: ("output", r"reconstruct raised RuntimeError: mat1 and mat2 shapes .* \(test_contract\.py:\d+\)"),
    DoesNotMake: ("output", r"__init__ raised TypeError: can't multiply .* \(test_contract\.py:\d+\)"),
    Exits: ("output", r"reconstruct raised SystemExit: enough \(test_contract\.py:\d+\)"),
}
"""Model -> the check that it fails, and what that says."""


def test_a_sound_model_passes() -> None:
    findings = list(examine(Sound))
    assert [finding.wrong for finding in findings] == [""] * len(CHECKS)
    assert all(finding.about and finding.ended for finding in findings)


def test_a_layer_that_begins_at_zero_is_sound() -> None:
    assert [finding.wrong for finding in examine(BeginsAtZero)] == [""] * len(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("model", BROKEN, ids=lambda model: model.__name__)
def test_a_broken_model_is_found(model: type[Model]) -> None:
    name, words = BROKEN[model]
    wrong = {finding.check: finding.wrong for finding in examine(model)}
    assert len(wrong) == len(CHECKS), "a check that fails does not stop the others"
    assert re.match(words, wrong[name]), wrong
    if not model.__doc__:
        assert not any(text for check, text in wrong.items() if check != "documented")


def test_every_check_finds_something() -> None:
    checks = {check.__name__.removeprefix("check_").replace("_", " ") for check in CHECKS}
    assert {name for name, _ in BROKEN.values()} == checks
