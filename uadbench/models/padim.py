"""PaDiM (`padim`): distance of a patch's pretrained features to those of healthy patches at the same position."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.errors import InputError
from uadbench.models.layers.backbone import Network, Weights
from uadbench.models.patches import PatchModel, chunks
from uadbench.registry import register_model
from uadbench.types import Batch, Grid


@register_model("padim")
class PaDiM(PatchModel):
    """Mahalanobis distance of pretrained features to a Gaussian of healthy ones, patch by patch, in three planes.

    After Defard et al. 2021: one Gaussian per position, a random subset of the features, and the Mahalanobis distance.
    Differs from the paper: slices in three planes instead of one picture; two levels of a smaller network instead of
    three; a regularisation that is proportional to the mean variance, so that it does not depend on the unit of the
    features. The distance has no sign: increased uptake scores as high as decreased uptake.

    Args:
        channels: Number of features that are kept, chosen at random in `fit`.
        regularisation: Fraction of the mean variance of the kept features, over a plane, that is added to every
            variance.
        spacing_mm: Distance between slices, in mm.
        pixel_mm: Side of a pixel, in mm.
        network: The pretrained network; see `Backbone`.
        weights: "imagenet" or "random"; see `Backbone`.

    Raises:
        InputError: If there are more channels than the network has, or its weights are not installed.
    """

    recipes: ClassVar = {"quick": {"regularisation": 0.1}}
    reference = "Defard et al. 2021, ICPR workshops, arXiv:2011.08785"
    chosen: Tensor

    def __init__(
        self,
        grid: Grid,
        channels: Annotated[int, Field(ge=1)] = 48,
        regularisation: Annotated[float, Field(gt=0)] = 0.01,
        spacing_mm: Annotated[float, Field(gt=0)] = 12.0,
        pixel_mm: Annotated[float, Field(gt=0)] = 4.0,
        network: Network = "tf_efficientnet_lite0",
        weights: Weights = "imagenet",
    ) -> None:
        super().__init__(grid, network, weights, spacing_mm, pixel_mm)
        if channels > self.backbone.channels:
            raise InputError(
                f"channels={channels}: {network} has {self.backbone.channels} here; choose as many at most"
            )
        self.regularisation = regularisation
        self.register_buffer("chosen", torch.arange(channels))
        for index, plane in enumerate(self.planes):
            places = len(plane.kept)
            self.register_buffer(f"mean{index}", torch.zeros(places, channels))
            self.register_buffer(f"whitening{index}", torch.eye(channels).repeat(places, 1, 1))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Compute mean, covariance and whitening matrix of every patch, in one pass over the scans."""
        draw = torch.randperm(self.backbone.channels)
        self.chosen.copy_(draw[: len(self.chosen)])
        moments = [Moments() for _ in self.planes]
        for batch in batches:
            for images in chunks(batch):
                for index, sums in enumerate(moments):
                    sums.add(self.features(index, images)[..., self.chosen])
        for index, sums in enumerate(moments):
            mean, covariance = sums.mean, sums.covariance
            level = self.regularisation * covariance.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
            same = torch.eye(len(self.chosen), dtype=covariance.dtype, device=covariance.device)
            root = torch.linalg.cholesky(covariance + level * same)
            self.get_buffer(f"mean{index}").copy_(mean)
            inverse = torch.linalg.solve_triangular(root, same.expand_as(root), upper=False)
            self.get_buffer(f"whitening{index}").copy_(inverse.mT)

    def scores(self, plane: int, features: Tensor) -> Tensor:
        """The Mahalanobis distance (Equation 2), (N, P)."""
        off = features[..., self.chosen] - self.get_buffer(f"mean{plane}")
        whitened = torch.bmm(off.transpose(0, 1), self.get_buffer(f"whitening{plane}"))  # (P, N, channels)
        distance: Tensor = torch.linalg.vector_norm(whitened, dim=2)
        return distance.T


class Moments:
    """Mean and covariance of N vectors at each of P positions, in one pass.

    Sums are over differences from the first vector of each position, which limits cancellation.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first = self.sum = self.products = torch.zeros(())

    def add(self, vectors: Tensor) -> None:
        """Add vectors (N, P, D) to the sums."""
        if not self.count:
            self.first = vectors[0]
        off = (vectors - self.first).transpose(0, 1)  # (P, N, D)
        self.count += len(vectors)
        self.sum = self.sum + off.sum(dim=1, dtype=torch.float64)
        self.products = self.products + torch.bmm(off.mT, off).double()

    @property
    def mean(self) -> Tensor:
        """The mean, (P, D) float64."""
        return self.first + self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, (P, D, D) float64; 0 for a single vector."""
        off = self.sum / self.count
        centred = self.products - self.count * off[:, :, None] * off[:, None]
        return centred / max(self.count - 1, 1)
