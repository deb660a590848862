"""The 3D variational autoencoder of Hassanaly et al. 2023 (`vae3d`), the reference model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam, seeded_normal
from uadbench.models.layers.convolutional import Decoder, encoder, features
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("vae3d")
class VAE3D(ReconstructionModel):
    """The 3D variational autoencoder of Hassanaly et al. 2023.

    Three strided convolutions (32, 64, 128 filters), each with batch norm and leaky ReLU, one dense
    layer to mean and log-variance, a symmetric decoder, latent dimension 128. The loss is Equation 1
    of the paper with the sign of its second term corrected: sum of squared errors over voxels plus
    KL = 1/2 sum(sigma^2 + mu^2 - log sigma^2 - 1), averaged over scans. The paper does not state the
    kernel size (here 3) and the slope of the leaky ReLU (here 0.2). At inference z = mu, whereas the
    authors' software sampled z.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the latent space.
        learning_rate: Learning rate of Adam.
        from_mean: Whether the output starts from the mean training scan (in the paper it does not).
        beta: Weight of the KL term (1 in the paper; see `beta_vae3d`).
    """

    reference = "Hassanaly et al. 2023, SPIE Medical Imaging; Kingma and Welling 2014"
    family = "variational autoencoder"
    recipes: ClassVar = {
        "quick": {"width": 16, "latent": 32, "learning_rate": 3e-3},
        "paper": {"learning_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        from_mean: bool = True,
        beta: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        super().__init__(grid)
        self.beta = beta
        self.learning_rate = learning_rate
        self.from_mean = from_mean
        self.encoder = encoder(grid, width)
        self.posterior = nn.Linear(features(grid, width), 2 * latent)
        self.decoder = Decoder(grid, width, latent)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Start the output from the mean training scan if `from_mean` is set."""
        if self.from_mean:
            self.decoder.start_from_mean(batches)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, (N, latent) each."""
        mu, log_variance = self.posterior(self.encoder(images)).float().chunk(2, dim=1)
        return mu, log_variance

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the mean of the posterior."""
        restored: Tensor = self.decoder(self.encode(batch.images)[0])
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Equation 1 with its sign corrected; z is sampled with noise that depends on the scan's seed."""
        mu, log_variance = self.encode(batch.images)
        restored = self.decoder(sample(mu, log_variance, batch)).float()
        yield "vae", (squares(restored, batch) + self.beta * kl_divergence(mu, log_variance)) / len(batch)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam optimiser for all trained parameters."""
        return {"vae": adam(self.parameters(), self.learning_rate)}


def sample(mu: Tensor, log_variance: Tensor, batch: Batch) -> Tensor:
    """A sample from each scan's posterior, (N, latent), with noise that depends on the scan's seed."""
    return mu + (0.5 * log_variance).exp() * seeded_normal(batch.seeds, mu.shape[1:], mu.device)


def squares(restored: Tensor, batch: Batch) -> Tensor:
    """The sum of squared differences over all voxels and scans."""
    return (restored - batch.images).square().sum()


def kl_divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)), summed over scans and latents: 1/2 sum(sigma^2 + mu^2 - log sigma^2 - 1)."""
    return 0.5 * (log_variance.exp() + mu.square() - log_variance - 1).sum()
