"""Latent diffusion: the noise is added to, and removed from, the code of an autoencoder."""

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
"""With one halving between the levels, the code has an eighth of the volume's edge."""

KL_WEIGHT = 1e-6
MEMORY = 0.99


@register_model("ldm3d")
class LDM3D(ReconstructionModel):
    """A KL-regularised autoencoder, and a diffusion model of its codes that restores them from partial depth.

    Rombach et al. 2022, and Pinaya et al. 2022 for brain images, with MONAI's networks and scheduler. The
    autoencoder sees blocks of 4 x 4 x 4 voxels as channels and deviations from the mean training scan
    (see `centring`). Differs from the papers: the two networks learn side by side, the second from
    codes that are still moving, so that the epochs are those of every model; squared error without
    perceptual and adversarial terms; noise to partial depth and a few deterministic strides back
    (DDIM). The noise at inference depends on the scan's seed alone.

    Args:
        width: Filters of the autoencoder's first level; doubled at the second.
        channels: Of the code.
        unet_width: Filters of the diffusion model's first level; doubled at the second.
        depth: Of 1000 steps, to which noise is added.
        passes: Of the diffusion model from there back.
        prediction: What the diffusion model predicts: the noise ("epsilon") or the code ("sample").
        draws: How many restored codes, each from its own noise, are averaged.
        learning_rate: Of Adam, for both networks, at the start of a cosine.
    """

    reference = "Rombach et al. 2022, CVPR; Pinaya et al. 2022, MICCAI"
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
        """Learn what healthy scans have in common."""
        self.centring.learn(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Encode, noise the code and restore it, decode the mean over draws."""
        code = self._encode(self.centring(batch.images))[0] / self.spread
        total = torch.zeros_like(code)
        for draw in range(self.draws):
            noise = seeded_normal([seed + draw for seed in batch.seeds], self.code_shape, code.device)
            total += self.diffusion.restore(self.network, code, noise)
        return self.centring.undo(self._decode(total / self.draws * self.spread))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The autoencoder's error; then the diffusion model's, on codes that it cannot move."""
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
        """Two: the autoencoder's and the diffusion model's."""
        return {
            "autoencoder": adam(self.autoencoder.parameters(), self.learning_rate),
            "diffusion": adam(self.network.parameters(), self.learning_rate),
        }

    def learning_rate_factor(self, share: float) -> float:
        """A cosine to 0."""
        return cosine(share)

    def _encode(self, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the codes, (N, channels, X / 8, Y / 8, Z / 8) each."""
        mu, sigma = self.autoencoder.encode(to_blocks(deviations, PATCH))
        return mu.float(), sigma.float()

    def _decode(self, code: Tensor) -> Tensor:
        return to_voxels(self.autoencoder.decode(code), PATCH).float()
