"""A vector-quantised autoencoder (`vqvae3d`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uadbench.models.base import ReconstructionModel, adam
from uadbench.models.extras import require_extra
from uadbench.models.layers.blocks import to_blocks, to_voxels
from uadbench.models.layers.centring import Centring
from uadbench.models.layers.convolutional import coarse
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

PATCH = 2


@register_model("vqvae3d")
class VQVAE3D(ReconstructionModel):
    """An autoencoder whose code is a grid of entries of a learnt codebook, with MONAI's network.

    van den Oord et al. 2017, with a codebook that is updated by moving averages (their appendix A.1). The
    network reconstructs deviations from the mean training scan (see `centring`), with blocks of 2 x 2 x 2
    voxels as channels. The code is normalised before it is quantised, and the codebook is initialised
    with codes of training scans; otherwise a single entry would be used everywhere. The autoregressive
    prior with which Pinaya et al. 2022 resample unlikely codes is left out.

    Args:
        width: Number of filters of the first level, at a quarter of the resolution; doubled at the second.
        codes: Number of entries of the codebook.
        size: Dimension of an entry.
        commitment: Weight of the commitment term.
        learning_rate: Learning rate of Adam.
    """

    reference = "van den Oord et al. 2017, NeurIPS"
    family = "variational autoencoder"
    extra = "networks"
    recipes: ClassVar = {"quick": {"size": 4, "learning_rate": 3e-3}}

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        codes: Annotated[int, Field(ge=2)] = 256,
        size: Annotated[int, Field(ge=1)] = 32,
        commitment: Annotated[float, Field(gt=0)] = 0.25,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__(grid)
        require_extra(self.extra, "vqvae3d")
        from monai.networks.nets.vqvae import VQVAE

        coarse(grid)
        self.learning_rate = learning_rate
        self.centring = Centring(grid)
        self.network = VQVAE(
            spatial_dims=3,
            in_channels=PATCH**3,
            out_channels=PATCH**3,
            channels=(width, 2 * width),
            num_res_channels=(width, 2 * width),
            downsample_parameters=((2, 4, 1, 1),) * 2,
            upsample_parameters=((2, 4, 1, 1, 0),) * 2,
            num_res_layers=1,
            num_embeddings=codes,
            embedding_dim=size,
            commitment_cost=commitment,
            decay=0.9,
        )

        self.norm = nn.BatchNorm3d(size, affine=False)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Estimate the mean healthy scan, and initialise the codebook with codes of training scans.

        With a codebook far from all codes, training would never use more than one entry.
        """
        self.centring.learn(batches)
        quantizer = self.network.quantizer.quantizer
        with torch.no_grad():
            found = torch.cat([self._codes(batch) for batch in batches])
            chosen = found[torch.randint(len(found), (len(quantizer.ema_w),), device=found.device)]
            quantizer.embedding.weight.copy_(chosen)
            quantizer.ema_w.copy_(chosen)
            quantizer.ema_cluster_size.fill_(1.0)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Encode, replace codes by the nearest codebook entries, decode."""
        return self.centring.undo(self._restore(self.centring(batch.images))[0])

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Mean squared error over voxels plus the commitment term; the codebook is updated by moving averages."""
        deviations = self.centring(batch.images)
        restored, commitment = self._restore(deviations)
        yield "autoencoder", (restored - deviations).square().mean() + commitment

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for encoder and decoder."""
        learnt = (parameter for parameter in self.network.parameters() if parameter.requires_grad)
        return {"autoencoder": adam(learnt, self.learning_rate)}

    def _codes(self, batch: Batch) -> Tensor:
        """The codes at every position of every eighth scan, (M, size)."""
        code = self._encode(self.centring(batch.images[::8]))
        return code.movedim(1, -1).flatten(0, -2)

    def _encode(self, deviations: Tensor) -> Tensor:
        """The codes, (N, size, X / 8, Y / 8, Z / 8), with mean 0 and variance 1 in each channel."""
        code: Tensor = self.norm(self.network.encode(to_blocks(deviations, PATCH)).float())
        return code

    def _restore(self, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction and the commitment term; distances to the codebook are always computed in float32."""
        code = self._encode(deviations)
        with torch.autocast(code.device.type, enabled=False):
            entries, commitment = self.network.quantize(code)
        return to_voxels(self.network.decode(entries), PATCH).float(), commitment
