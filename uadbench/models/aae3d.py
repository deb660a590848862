"""A 3D adversarial autoencoder (`aae3d`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam, seeded_normal
from uadbench.models.layers.convolutional import Decoder, encoder, features
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("aae3d")
class AAE3D(ReconstructionModel):
    """An adversarial autoencoder: a discriminator, instead of a KL term, pulls the codes towards a standard normal.

    Makhzani et al. 2016, with the deterministic encoder of their section 2 and the three phases of
    each step: reconstruction, discriminator, encoder as generator. Encoder and decoder are those of
    `vae3d`; the discriminator has two hidden layers, as in the paper.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the code.
        hidden: Number of units in each hidden layer of the discriminator.
        learning_rate: Learning rate of Adam for the reconstruction phase.
        adversarial_rate: Learning rate of Adam for the two adversarial phases.
        from_mean: Whether the output starts from the mean training scan.
    """

    reference = "Makhzani et al. 2016, arXiv:1511.05644"
    family = "adversarial"
    recipes: ClassVar = {
        "quick": {"width": 16, "latent": 4, "learning_rate": 3e-3},
        "paper": {"learning_rate": 1e-5, "adversarial_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        hidden: Annotated[int, Field(ge=1)] = 512,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        adversarial_rate: Annotated[float, Field(gt=0)] = 1e-4,
        from_mean: bool = True,
    ) -> None:
        super().__init__(grid)
        self.learning_rate = learning_rate
        self.adversarial_rate = adversarial_rate
        self.from_mean = from_mean
        self.encoder = nn.Sequential(encoder(grid, width), nn.Linear(features(grid, width), latent))
        self.decoder = Decoder(grid, width, latent)
        self.discriminator = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Start the output from the mean training scan if `from_mean` is set."""
        if self.from_mean:
            self.decoder.start_from_mean(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the code of each image."""
        restored: Tensor = self.decoder(self.encoder(batch.images))
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Losses of the three phases: reconstruction; discriminator on codes and samples of N(0, 1); encoder."""
        code = self.encoder(batch.images)
        restored = self.decoder(code).float()
        yield "autoencoder", (restored - batch.images).square().sum() / len(batch)

        drawn = seeded_normal(batch.seeds, code.shape[1:], code.device)
        yield "discriminator", 0.5 * (self._judge(drawn, True) + self._judge(code.detach(), False))

        yield "encoder", self._judge(self.encoder(batch.images), True)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Three optimisers: for encoder and decoder (reconstruction), discriminator, and encoder (as generator)."""
        return {
            "autoencoder": adam([*self.encoder.parameters(), *self.decoder.parameters()], self.learning_rate),
            "discriminator": adam(self.discriminator.parameters(), self.adversarial_rate),
            "encoder": adam(self.encoder.parameters(), self.adversarial_rate),
        }

    def _judge(self, code: Tensor, drawn: bool) -> Tensor:
        """Cross-entropy of the discriminator's output, for the label that these codes come from the prior (or not)."""
        verdict = self.discriminator(code).float()
        return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(drawn)))
