"""The 3D adversarial autoencoder."""

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
    """An adversarial autoencoder: a discriminator, not a KL term, shapes the codes into a standard normal.

    Makhzani et al. 2016, with the deterministic encoder of their section 2 and the three phases of
    each step: reconstruction, discriminator, encoder as generator. Encoder and decoder are those of
    `vae3d`; the discriminator has two hidden layers, as theirs.

    Args:
        width: Filters of the first convolution.
        latent: Size of the code.
        hidden: Units of each hidden layer of the discriminator.
        learning_rate: Of Adam, for the reconstruction phase.
        adversarial_rate: Of Adam, for the two adversarial phases.
        from_mean: Start the output from the mean training scan.
    """

    reference = "Makhzani et al. 2016, arXiv:1511.05644"
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
        """Start the output from the mean training scan, where `from_mean` asks for it."""
        if self.from_mean:
            self.decoder.start_from_mean(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the code of each image."""
        restored: Tensor = self.decoder(self.encoder(batch.images))
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Reconstruction; discriminator on codes against draws from N(0, 1); encoder against the discriminator."""
        code = self.encoder(batch.images)
        restored = self.decoder(code).float()
        yield "autoencoder", (restored - batch.images).square().sum() / len(batch)

        drawn = seeded_normal(batch.seeds, code.shape[1:], code.device)
        yield "discriminator", 0.5 * (self._judge(drawn, True) + self._judge(code.detach(), False))

        yield "encoder", self._judge(self.encoder(batch.images), True)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Three: the reconstruction phase owns encoder and decoder, the generator phase the encoder again."""
        return {
            "autoencoder": adam([*self.encoder.parameters(), *self.decoder.parameters()], self.learning_rate),
            "discriminator": adam(self.discriminator.parameters(), self.adversarial_rate),
            "encoder": adam(self.encoder.parameters(), self.adversarial_rate),
        }

    def _judge(self, code: Tensor, drawn: bool) -> Tensor:
        """Cross-entropy of the discriminator against the claim that these codes were drawn from the prior."""
        verdict = self.discriminator(code).float()
        return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(drawn)))
