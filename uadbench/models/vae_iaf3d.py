"""A VAE whose posterior is refined by an inverse autoregressive flow (`vae_iaf3d`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import seeded_normal
from uadbench.models.layers.autoregressive import InverseAutoregressiveFlow
from uadbench.models.layers.convolutional import features
from uadbench.models.vae3d import VAE3D, squares
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("vae_iaf3d")
class VAEIAF3D(VAE3D):
    """The reference VAE whose posterior passes through an inverse autoregressive flow.

    Kingma et al. 2016: the encoder gives a mean, a log-variance and a context; the flow transforms the
    sample. The KL term is log q(z | x) - log p(z) of that sample. At inference the flow starts from the
    mean.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the latent space.
        learning_rate: Learning rate of Adam.
        from_mean: Whether the output starts from the mean training scan.
        beta: Weight of the KL term.
        steps: Number of steps of the flow.
        hidden: Number of units in the hidden layer of each step.
    """

    reference = "Kingma et al. 2016, NeurIPS"
    recipes: ClassVar = {
        "quick": {"width": 16, "learning_rate": 3e-3},
        "paper": {"learning_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=2)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        from_mean: bool = True,
        beta: Annotated[float, Field(ge=0)] = 1.0,
        steps: Annotated[int, Field(ge=1)] = 2,
        hidden: Annotated[int, Field(ge=1)] = 256,
    ) -> None:
        super().__init__(grid, width, latent, learning_rate, from_mean, beta)
        self.posterior = nn.Linear(features(grid, width), 3 * latent)
        self.flow = InverseAutoregressiveFlow(latent, hidden, steps)

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log-variance and context of the posterior, (N, latent) each."""
        mu, log_variance, context = self.posterior(self.encoder(images)).float().chunk(3, dim=1)
        return mu, log_variance, context

    def reconstruct(self, batch: Batch) -> Tensor:
        """Pass the mean of the posterior through the flow, and decode the result."""
        mu, _, context = self.describe(batch.images)
        restored: Tensor = self.decoder(self.flow(mu, context)[0])
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Sum of squared errors plus log q(z | x) - log p(z), averaged over scans."""
        mu, log_variance, context = self.describe(batch.images)
        noise = seeded_normal(batch.seeds, mu.shape[1:], mu.device)
        z, determinant = self.flow(mu + (0.5 * log_variance).exp() * noise, context)
        posterior = _log_normal(noise) - 0.5 * log_variance.sum(dim=1) - determinant
        divergence = (posterior - _log_normal(z)).sum()
        restored = self.decoder(z).float()
        yield "vae", (squares(restored, batch) + self.beta * divergence) / len(batch)


def _log_normal(z: Tensor) -> Tensor:
    """The log-density of a standard normal, (N, latent) to (N,)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
