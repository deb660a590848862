"""A plain 3D autoencoder (`ae3d`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam
from uadbench.models.layers.convolutional import Decoder, encoder, features
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("ae3d")
class AE3D(ReconstructionModel):
    """A plain 3D autoencoder: the network of `vae3d` with a deterministic code.

    The loss is the sum of squared errors over voxels, averaged over scans.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the code.
        learning_rate: Learning rate of Adam.
        from_mean: Whether the output starts from the mean training scan.
    """

    reference = "Hinton and Salakhutdinov 2006, Science 313:504-507"
    family = "autoencoder"
    recipes: ClassVar = {
        "quick": {"width": 16, "latent": 4, "learning_rate": 3e-3},
        "paper": {"learning_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        from_mean: bool = True,
    ) -> None:
        super().__init__(grid)
        self.learning_rate = learning_rate
        self.from_mean = from_mean
        self.encoder = nn.Sequential(encoder(grid, width), nn.Linear(features(grid, width), latent))
        self.decoder = Decoder(grid, width, latent)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Start the output from the mean training scan if `from_mean` is set."""
        if self.from_mean:
            self.decoder.start_from_mean(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the code of each image."""
        restored: Tensor = self.decoder(self.encoder(batch.images))
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Sum of squared errors over voxels, averaged over scans."""
        restored = self.reconstruct(batch).float()
        yield "autoencoder", (restored - batch.images).square().sum() / len(batch)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam optimiser for all trained parameters."""
        return {"autoencoder": adam(self.parameters(), self.learning_rate)}
