"""A small model that learns, and models with faults, as anybody may write them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam

TOO_MANY_BYTES = 1 << 43


class Gain(ReconstructionModel):
    """Learns a factor for every voxel."""

    def __init__(self, grid):
        super().__init__(grid)
        self.gain = nn.Parameter(torch.full(grid.shape, 0.5))

    def reconstruct(self, batch) -> Tensor:
        return self.gain * batch.images

    def losses(self, batch):
        yield "gain", (self.gain * batch.images - batch.images.mean(0)).square().mean()

    def optimisers(self):
        return {"gain": adam(self.parameters(), 0.02)}


class Half(ReconstructionModel):
    """Half of its input; nothing is wrong with it."""

    def reconstruct(self, batch) -> Tensor:
        return 0.5 * batch.images


class ChangesItsInput(ReconstructionModel):
    """The same, in place."""

    def fit(self, batches):
        for batch in batches:
            batch.images.zero_()

    def reconstruct(self, batch) -> Tensor:
        return batch.images.mul_(0.5).clone()


class Raises(ReconstructionModel):
    def fit(self, batches):
        raise RuntimeError("the model's own words,\nin two lines")


class GivesAnotherShape(ReconstructionModel):
    def reconstruct(self, batch) -> Tensor:
        return batch.images[..., 1:]


class GivesNaN(ReconstructionModel):
    def reconstruct(self, batch) -> Tensor:
        return batch.images / torch.zeros(())


class LearnsNaN(Gain):
    """Its loss is no number from the third batch on."""

    steps = 0

    def losses(self, batch):
        for name, loss in super().losses(batch):
            self.steps += 1
            yield name, loss if self.steps < 3 else loss * float("nan")


class DivergesSilently(Gain):
    """Its loss is a number; what it learns from it is none."""

    def losses(self, batch):
        yield "gain", torch.sqrt((self.gain - self.gain.detach()).abs()).nan_to_num().sum()


class EatsMemoryOfTorch(ReconstructionModel):
    def fit(self, batches):
        torch.empty(TOO_MANY_BYTES, dtype=torch.uint8)


class EatsMemoryOfNumpy(ReconstructionModel):
    def reconstruct(self, batch) -> Tensor:
        return torch.from_numpy(np.ones(TOO_MANY_BYTES, dtype=np.uint8))


class Hangs(ReconstructionModel):
    def fit(self, batches):
        while True:
            time.sleep(0.01)


class Waits(Half):
    """Says that it learns by a file in the folder WAITS_IN, and goes on once there is a file `go`."""

    def fit(self, batches):
        folder = Path(os.environ["WAITS_IN"])
        (folder / "learns").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)


class Exits(ReconstructionModel):
    def fit(self, batches):
        sys.exit(0)
