"""A VAE with a discriminator on its reconstructions (`vaegan3d`)."""

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
    """The reference VAE with a discriminator on its reconstructions, which makes them less blurred.

    After Larsen et al. 2016, in the form that Baur et al. 2018 use for anomaly detection: squared error
    over voxels, KL term and adversarial term (the error in the discriminator's features of Larsen et al.
    is left out). The discriminator has the encoder's architecture with one output; it is trained on
    scans and reconstructions.

    Args:
        width: Number of filters of the first convolution, in the VAE and in the discriminator.
        latent: Dimension of the latent space.
        learning_rate: Learning rate of Adam for encoder and decoder.
        from_mean: Whether the output starts from the mean training scan.
        beta: Weight of the KL term.
        adversarial_rate: Learning rate of Adam for the discriminator.
        adversarial: Weight of the adversarial term relative to the sum of squared errors over voxels.
    """

    reference = "Larsen et al. 2016, ICML; Baur et al. 2018, MICCAI BrainLes"
    family = "adversarial"
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
        """The loss of the VAE, with its adversarial term; then that of the discriminator."""
        mu, log_variance = self.encode(batch.images)
        restored = self.decoder(sample(mu, log_variance, batch)).float()
        fooled = self._judge(restored, True)
        error = (squares(restored, batch) + self.beta * kl_divergence(mu, log_variance)) / len(batch)
        yield "vae", error + self.adversarial * fooled

        yield "discriminator", 0.5 * (self._judge(batch.images, True) + self._judge(restored.detach(), False))

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Two optimisers: one for the VAE, one for the discriminator."""
        of_vae = [*self.encoder.parameters(), *self.posterior.parameters(), *self.decoder.parameters()]
        return {
            "vae": adam(of_vae, self.learning_rate),
            "discriminator": adam(self.discriminator.parameters(), self.adversarial_rate),
        }

    def _judge(self, images: Tensor, real: bool) -> Tensor:
        """Cross-entropy of the discriminator's output, for the label that these images are scans (or are not)."""
        verdict = self.discriminator(images).float()
        return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(real)))
