"""A denoising autoencoder that is trained with spatially smooth noise (`dae3d`)."""

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
from uadbench.models.layers.noise import coarse_noise
from uadbench.registry import register_model
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid

PATCH = 2


@register_model("dae3d")
class DAE3D(ReconstructionModel):
    """A U-Net that is trained to remove smooth noise, and also removes anomalies of a similar size.

    Kascenas et al. 2022, in 3D: smooth noise is added to healthy scans inside the brain, and the network
    restores the scan; at inference no noise is added. The U-Net is MONAI's, with residual units; it works
    on deviations from the mean training scan (see `centring`), with blocks of 2 x 2 x 2 voxels as
    channels. Differs from the paper in its size, in training on volumes, and in the noise: it is smoothed
    instead of drawn at a low resolution (see `coarse_noise`), and its standard deviation is drawn for
    every scan, up to `noise`.

    Args:
        width: Number of filters of the first level, at a quarter of the resolution; doubled at each of three levels.
        noise: Largest standard deviation of the noise, in units of healthy variation in the brain.
        grain_mm: FWHM of the smoothing of the noise, in mm; 0 for white noise.
        learning_rate: Initial learning rate of Adam; it decays along a cosine to 0.
    """

    reference = "Kascenas et al. 2022, MIDL"
    family = "autoencoder"
    extra = "networks"
    monitored = False
    recipes: ClassVar = {"quick": {"noise": 1.0, "grain_mm": 32.0, "learning_rate": 3e-3}}
    brain: Tensor

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        noise: Annotated[float, Field(gt=0)] = 2.0,
        grain_mm: Annotated[float, Field(ge=0)] = 24.0,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__(grid)
        require_extra(self.extra, "dae3d")
        from monai.networks.nets.unet import UNet

        require_divisible(grid, 4 * PATCH, "dae3d")
        self.noise = noise
        self.grain_mm = grain_mm
        self.learning_rate = learning_rate
        self.centring = Centring(grid)
        self.register_buffer("brain", torch.from_numpy(brain_mask(grid)).float(), persistent=False)
        channels = (width, 2 * width, 4 * width)
        self.network = UNet(3, PATCH**3, PATCH**3, channels, (2, 2), num_res_units=1, norm="BATCH")

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Estimate the mean and the scale of healthy training scans (see `Centring`)."""
        self.centring.learn(batches)

    def reconstruct(self, batch: Batch) -> Tensor:
        """The scan as the network restores it."""
        return self.centring.undo(self._restore(self.centring(batch.images)))

    def _restore(self, deviations: Tensor) -> Tensor:
        return to_voxels(self.network(to_blocks(deviations, PATCH)), PATCH).float()

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Squared error between a scan and its restoration from a noisy version, per voxel of the brain."""
        clean = self.centring(batch.images)
        spread = torch.rand(len(batch), 1, 1, 1, 1, device=clean.device) * self.noise
        noise = coarse_noise(batch.seeds, self.grid, self.grain_mm, clean.device) * spread * self.brain
        error = (self._restore(clean + noise) - clean).square()
        yield "denoiser", error.mean() / self.brain.mean()

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam optimiser for all trained parameters."""
        return {"denoiser": adam(self.network.parameters(), self.learning_rate)}

    def learning_rate_factor(self, share: float) -> float:
        """Cosine decay from 1 to 0."""
        return cosine(share)
