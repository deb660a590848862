"""f-AnoGAN (`fanogan3d`): a GAN that generates healthy scans, with an encoder into its latent space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam, seeded_normal
from uadbench.models.layers.blocks import to_blocks
from uadbench.models.layers.convolutional import SLOPE, STRIDES, Decoder, coarse, encoder, features
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

PENALISED = 4
"""The gradient penalty, the slowest part of a step, is estimated from every fourth scan of a batch."""


@register_model("fanogan3d")
class FAnoGAN3D(ReconstructionModel):
    """A Wasserstein GAN of healthy scans with an encoder into its latent space.

    Schlegl et al. 2019: critic and generator with gradient penalty (Gulrajani et al. 2017), and the
    encoder's `izi_f` loss: squared error of the scan plus squared error of the critic's features. The
    map is x̂ - x, without the paper's factor from the features. Differs from the paper: all three
    networks are trained together, one step each per batch, instead of the encoder after the GAN, so
    that the number of epochs is the same as for other models.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the latent space.
        learning_rate: Learning rate of Adam for the encoder.
        adversarial_rate: Learning rate of Adam, with betas (0, 0.9), for critic and generator.
        penalty: Weight of the gradient penalty.
        kappa: Weight of the error in the critic's features.
        from_mean: Whether the output starts from the mean training scan.
    """

    reference = "Schlegl et al. 2019, Med Image Anal 54:30-44"
    family = "adversarial"
    recipes: ClassVar = {"quick": {"width": 16, "learning_rate": 3e-3}}

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        adversarial_rate: Annotated[float, Field(gt=0)] = 1e-4,
        penalty: Annotated[float, Field(ge=0)] = 10.0,
        kappa: Annotated[float, Field(ge=0)] = 1.0,
        from_mean: bool = True,
    ) -> None:
        super().__init__(grid)
        self.latent = latent
        self.learning_rate = learning_rate
        self.adversarial_rate = adversarial_rate
        self.penalty = penalty
        self.kappa = kappa
        self.from_mean = from_mean
        self.generator = Decoder(grid, width, latent)
        self.critic = _critic(grid, width)
        self.verdict = nn.Linear(features(grid, width), 1)
        self.verdict.bias.requires_grad_(False)  # it cancels in the difference of verdicts that is learnt from
        self.encoder = nn.Sequential(encoder(grid, width), nn.Linear(features(grid, width), latent))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Start the output from the mean training scan if `from_mean` is set."""
        if self.from_mean:
            self.generator.start_from_mean(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Encode the images, and generate a scan from each code."""
        restored: Tensor = self.generator(self.encoder(batch.images))
        return restored

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Losses of critic, generator and encoder; the generator's batch statistics come from random codes only."""
        images = batch.images
        made = self.generator(seeded_normal(batch.seeds, (self.latent,), images.device)).float()
        critic = self._judge(made.detach()) - self._judge(images)
        some = slice(math.ceil(len(batch) / PENALISED))
        yield "critic", critic + self.penalty * self._steepness(images[some], made.detach()[some])

        yield "generator", -self._judge(made)

        code = self.encoder(images)
        self.generator.eval()
        restored = self.generator(code).float()
        self.generator.train()
        error = (restored - images).square().mean()
        yield "encoder", error + self.kappa * (self._features(restored) - self._features(images)).square().mean()

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Three optimisers: for the critic with its output layer, the generator, and the encoder."""
        of_critic = [*self.critic.parameters(), *self.verdict.parameters()]
        return {
            "critic": _adam(of_critic, self.adversarial_rate),
            "generator": _adam(list(self.generator.parameters()), self.adversarial_rate),
            "encoder": adam(self.encoder.parameters(), self.learning_rate),
        }

    def _features(self, images: Tensor) -> Tensor:
        """The critic's features of images, (N, features)."""
        seen: Tensor = self.critic(to_blocks(images, 2))
        return seen

    def _judge(self, images: Tensor) -> Tensor:
        """The critic's mean output over images, ()."""
        verdict: Tensor = self.verdict(self._features(images)).float().mean()
        return verdict

    def _steepness(self, images: Tensor, made: Tensor) -> Tensor:
        """The gradient penalty: mean of (gradient norm - 1)² of the critic between real and generated scans."""
        share = torch.rand(len(images), 1, 1, 1, 1, device=images.device)
        between = (share * images + (1 - share) * made).requires_grad_()
        with torch.autocast(images.device.type, enabled=False):
            verdicts = self.verdict(self._features(between)).sum()
        (slope,) = torch.autograd.grad(verdicts, between, create_graph=True)
        excess: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return excess


def _critic(grid: Grid, width: int) -> nn.Sequential:
    """Three convolutions without batch norm, since the gradient penalty is defined for each scan separately.

    The input is in blocks of 2 x 2 x 2 voxels; the second and third convolution halve the resolution, so that the
    number of features equals the encoder's.
    """
    coarse(grid)
    layers: list[nn.Module] = [nn.Conv3d(8, width, kernel_size=3, padding=1), nn.LeakyReLU(SLOPE)]
    for level in range(1, STRIDES):
        incoming, filters = width * 2 ** (level - 1), width * 2**level
        layers += [nn.Conv3d(incoming, filters, kernel_size=3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Flatten())


def _adam(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(0.0, 0.9), fused=True)
