"""Latent diffusion (`ldm3d`): a diffusion model on the codes of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import ReconstructionModel, adam, cosine, seeded_normal
from uadbench.models.extras import require_extra
from uadbench.models.layers.blocks import to_blocks, to_voxels
from uadbench.models.layers.centring import Centring
from uadbench.models.layers.convolutional import coarse
from uadbench.models.layers.diffusion import STEPS, PartialDiffusion, Prediction, denoiser
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

LEVELS = 2
PATCH = 4
"""Side of the blocks that become channels; with the halving between two levels, the code has 1/8 of the resolution."""

KL_WEIGHT = 1e-6
MEMORY = 0.99


@register_model("ldm3d")
class LDM3D(ReconstructionModel):
    """A KL-regularised autoencoder with a diffusion model that restores its codes from partial depth.

    Rombach et al. 2022, and Pinaya et al. 2022 for brain images, with MONAI's networks and scheduler. The
    input of the autoencoder is deviations from the mean training scan (see `centring`), with blocks of
    4 x 4 x 4 voxels as channels. Differs from the papers: both networks are trained together, so that the
    number of epochs is the same as for other models, and the diffusion model sees codes that still change;
    squared error without perceptual and adversarial terms; noise up to partial depth and a few
    deterministic steps back (DDIM). The noise at inference depends only on the scan's seed.

    Args:
        width: Number of filters of the autoencoder's first level; doubled at the second.
        channels: Number of channels of the code.
        unet_width: Number of filters of the diffusion model's first level; doubled at the second.
        depth: Step of the noise schedule, of 1000, up to which noise is added.
        passes: Number of passes of the diffusion model that remove the noise.
        prediction: What the diffusion model predicts: the noise ("epsilon") or the code ("sample").
        draws: Number of restored codes, each from different noise, that are averaged.
        learning_rate: Initial learning rate of Adam for both networks; it decays along a cosine to 0.
    """

    reference = "Rombach et al. 2022, CVPR; Pinaya et al. 2022, MICCAI"
    family = "diffusion"
    extra = "networks"
    monitored = False
    recipes: ClassVar = {"quick": {"width": 16, "unet_width": 32, "depth": 500, "passes": 3, "learning_rate": 3e-3}}
    spread: Tensor

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 64,
        channels: Annotated[int, Field(ge=1)] = 4,
        unet_width: Annotated[int, Field(ge=1)] = 64,
        depth: Annotated[int, Field(ge=1, lt=STEPS)] = 250,
        passes: Annotated[int, Field(ge=1)] = 4,
        prediction: Prediction = "sample",
        draws: Annotated[int, Field(ge=1)] = 8,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__(grid)
        require_extra(self.extra, "ldm3d")
        from monai.networks.nets.autoencoderkl import AutoencoderKL

        self.code_shape = (channels, *coarse(grid))
        self.draws = draws
        self.learning_rate = learning_rate
        self.centring = Centring(grid)
        self.diffusion = PartialDiffusion(depth, passes, prediction)
        self.autoencoder = AutoencoderKL(
            spatial_dims=3,
            in_channels=PATCH**3,
            out_channels=PATCH**3,
            channels=[width * 2**level for level in range(LEVELS)],
            latent_channels=channels,
            num_res_blocks=1,
            norm_num_groups=min(8, width),
            attention_levels=[False] * LEVELS,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.network = denoiser(channels, unet_width, 1)
        self.register_buffer("spread", torch.ones(()))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Estimate the mean and the scale of healthy training scans (see `Centring`)."""
        self.centring.learn(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Encode, add noise to the code and remove it, decode the mean over draws."""
        code = self._encode(self.centring(batch.images))[0] / self.spread
        total = torch.zeros_like(code)
        for draw in range(self.draws):
            noise = seeded_normal([seed + draw for seed in batch.seeds], self.code_shape, code.device)
            total += self.diffusion.restore(self.network, code, noise)
        return self.centring.undo(self._decode(total / self.draws * self.spread))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The loss of the autoencoder; then that of the diffusion model, on detached codes."""
        deviations = self.centring(batch.images)
        mu, sigma = self._encode(deviations)
        code = mu + sigma * torch.randn_like(mu)
        error = (self._decode(code) - deviations).square().mean()
        divergence = 0.5 * (sigma.square() + mu.square() - 2 * sigma.log() - 1).sum() / len(batch)
        yield "autoencoder", error + KL_WEIGHT * divergence

        code = code.detach()
        self.spread.lerp_(code.std(), 1 - MEMORY)
        noise = seeded_normal(batch.seeds, self.code_shape, code.device)
        yield "diffusion", self.diffusion.loss(self.network, code / self.spread, noise)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Two optimisers: one for the autoencoder, one for the diffusion model."""
        return {
            "autoencoder": adam(self.autoencoder.parameters(), self.learning_rate),
            "diffusion": adam(self.network.parameters(), self.learning_rate),
        }

    def learning_rate_factor(self, share: float) -> float:
        """Cosine decay from 1 to 0."""
        return cosine(share)

    def _encode(self, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the codes, (N, channels, X / 8, Y / 8, Z / 8) each."""
        mu, sigma = self.autoencoder.encode(to_blocks(deviations, PATCH))
        return mu.float(), sigma.float()

    def _decode(self, code: Tensor) -> Tensor:
        return to_voxels(self.autoencoder.decode(code), PATCH).float()
