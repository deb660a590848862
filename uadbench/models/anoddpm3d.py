"""AnoDDPM in 3D (`anoddpm3d`): a diffusion model on volumes, with noise up to partial depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.base import ReconstructionModel, adam, cosine
from uadbench.models.extras import require_extra
from uadbench.models.layers.blocks import require_divisible, to_blocks, to_voxels
from uadbench.models.layers.centring import Centring
from uadbench.models.layers.diffusion import STEPS, PartialDiffusion, Prediction, denoiser
from uadbench.models.layers.noise import coarse_noise
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

LEVELS = 2


@register_model("anoddpm3d")
class AnoDDPM3D(ReconstructionModel):
    """A diffusion model that adds smooth noise to a scan up to partial depth, and removes it again.

    Wyatt et al. 2022, in 3D. Differs from the paper: smoothed white noise instead of simplex noise; MONAI's
    U-Net, with blocks of `patch` voxels along each axis as channels; a few deterministic steps back (DDIM)
    instead of every step; training only at depths up to `depth`; deviations from the mean training scan
    (see `centring`). The noise at inference depends only on the scan's seed.

    Args:
        width: Number of filters of the first level; doubled at the second.
        patch: Side of the blocks that become channels, in voxels.
        depth: Step of the noise schedule, of 1000, up to which noise is added.
        passes: Number of passes of the network that remove the noise.
        grain_mm: FWHM of the smoothing of the noise, in mm; 0 for white noise.
        prediction: What the network predicts: the noise ("epsilon") or the scan ("sample").
        draws: Number of reconstructions, each from different noise, that are averaged.
        learning_rate: Initial learning rate of Adam; it decays along a cosine to 0.
    """

    reference = "Wyatt et al. 2022, CVPR Workshops"
    family = "diffusion"
    extra = "networks"
    monitored = False
    recipes: ClassVar = {"quick": {"width": 24, "depth": 500, "passes": 3, "grain_mm": 32.0, "learning_rate": 3e-3}}

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        patch: Annotated[int, Field(ge=1)] = 4,
        depth: Annotated[int, Field(ge=1, lt=STEPS)] = 250,
        passes: Annotated[int, Field(ge=1)] = 4,
        grain_mm: Annotated[float, Field(ge=0)] = 24.0,
        prediction: Prediction = "sample",
        draws: Annotated[int, Field(ge=1)] = 1,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__(grid)
        require_extra(self.extra, "anoddpm3d")
        require_divisible(grid, 2 * patch, "anoddpm3d")
        self.patch = patch
        self.grain_mm = grain_mm
        self.draws = draws
        self.learning_rate = learning_rate
        self.centring = Centring(grid)
        self.diffusion = PartialDiffusion(depth, passes, prediction)
        self.network = denoiser(patch**3, width, LEVELS)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Estimate the mean and the scale of healthy training scans (see `Centring`)."""
        self.centring.learn(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """The mean over draws of the scan after the noise is removed."""
        clean = to_blocks(self.centring(batch.images), self.patch)
        total = torch.zeros_like(batch.images)
        for draw in range(self.draws):
            noise = self._noise([seed + draw for seed in batch.seeds], clean.device)
            total += to_voxels(self.diffusion.restore(self.network, clean, noise), self.patch)
        return self.centring.undo(total / self.draws)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Mean squared error of the network's prediction at a random depth for each scan."""
        clean = to_blocks(self.centring(batch.images), self.patch)
        yield "diffusion", self.diffusion.loss(self.network, clean, self._noise(list(batch.seeds), clean.device))

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam optimiser for all trained parameters."""
        return {"diffusion": adam(self.network.parameters(), self.learning_rate)}

    def learning_rate_factor(self, share: float) -> float:
        """Cosine decay from 1 to 0."""
        return cosine(share)

    def _noise(self, seeds: list[int], device: torch.device) -> Tensor:
        return to_blocks(coarse_noise(seeds, self.grid, self.grain_mm, device), self.patch)
