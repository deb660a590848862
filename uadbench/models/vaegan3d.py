"""A VAE whose reconstructions must also pass a discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import adam
from uadbench.models.layers.convolutional import encoder, features
from uadbench.models.vae3d import VAE3D, kl_divergence, sample, squares
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("vaegan3d")
class VAEGAN3D(VAE3D):
    """The reference VAE with a discriminator on its reconstructions, against their blur.

    After Larsen et al. 2016 as Baur et al. 2018 use it for anomaly detection: squared error, KL term, and
    an adversarial term, in voxels (Larsen's error in the discriminator's features is left out). The
    discriminator is the encoder's network with one output; it sees scans and reconstructions.

    Args:
        width: Filters of the first convolution, of the VAE and of the discriminator.
        latent: Size of the latent space.
        learning_rate: Of Adam, for encoder and decoder.
        from_mean: Start the output from the mean training scan.
        beta: Weight of the KL term.
        adversarial_rate: Of Adam, for the discriminator.
        adversarial: Weight of the adversarial term beside the sum of squares over voxels.
    """

    reference = "Larsen et al. 2016, ICML; Baur et al. 2018, MICCAI BrainLes"
    recipes: ClassVar = {
        "quick": {"width": 16, "learning_rate": 3e-3, "beta": 4.0, "adversarial": 10.0},
        "paper": {"learning_rate": 1e-5, "adversarial_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        from_mean: bool = True,
        beta: Annotated[float, Field(ge=0)] = 1.0,
        adversarial_rate: Annotated[float, Field(gt=0)] = 2e-4,
        adversarial: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        super().__init__(grid, width, latent, learning_rate, from_mean, beta)
        self.adversarial_rate = adversarial_rate
        self.adversarial = adversarial
        self.discriminator = nn.Sequential(encoder(grid, width), nn.Linear(features(grid, width), 1))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The VAE against the discriminator, then the discriminator against what the VAE has made."""
        mu, log_variance = self.encode(batch.images)
        restored = self.decoder(sample(mu, log_variance, batch)).float()
        fooled = self._judge(restored, True)
        error = (squares(restored, batch) + self.beta * kl_divergence(mu, log_variance)) / len(batch)
        yield "vae", error + self.adversarial * fooled

        yield "discriminator", 0.5 * (self._judge(batch.images, True) + self._judge(restored.detach(), False))

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Two: the VAE's and the discriminator's."""
        of_vae = [*self.encoder.parameters(), *self.posterior.parameters(), *self.decoder.parameters()]
        return {
            "vae": adam(of_vae, self.learning_rate),
            "discriminator": adam(self.discriminator.parameters(), self.adversarial_rate),
        }

    def _judge(self, images: Tensor, real: bool) -> Tensor:
        """Cross-entropy of the discriminator against the claim that these images are scans."""
        verdict = self.discriminator(images).float()
        return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(real)))
