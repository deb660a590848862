"""PaDiM: how far the pretrained features of a patch are from those of healthy patches at the same place."""

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

    After Defard et al. 2021, of whom it keeps one Gaussian a place, a random subset of the features, and the distance.
    Different here: slices in three planes instead of one picture, two levels of a smaller network instead of three,
    and what is added to the diagonal of a covariance is a part of the mean variance, so that it does not depend on the
    unit of the features. A distance has no sign: raised uptake is as suspicious as lowered uptake.

    Args:
        channels: Features that are kept, drawn at random in `fit`.
        regularisation: Of the mean variance of the kept features, over a plane, added to every variance.
        spacing_mm, pixel_mm: Between slices; side of a pixel.
        network, weights: See `Backbone`.

    Raises:
        InputError: For more channels than the network has, or weights that are not installed.
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
        """Mean and covariance of every patch, summed in one pass about the first scan, and what whitens it."""
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
        """The Mahalanobis distance, by equation 2."""
        off = features[..., self.chosen] - self.get_buffer(f"mean{plane}")
        whitened = torch.bmm(off.transpose(0, 1), self.get_buffer(f"whitening{plane}"))  # (P, N, channels)
        distance: Tensor = torch.linalg.vector_norm(whitened, dim=2)
        return distance.T


class Moments:
    """Mean and covariance of N vectors at each of P places, in one pass.

    What is summed are differences from the first vector of a place: the sums stay small beside what they differ by.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first = self.sum = self.products = torch.zeros(())

    def add(self, vectors: Tensor) -> None:
        """Take in vectors (N, P, D)."""
        if not self.count:
            self.first = vectors[0]
        off = (vectors - self.first).transpose(0, 1)  # (P, N, D)
        self.count += len(vectors)
        self.sum = self.sum + off.sum(dim=1, dtype=torch.float64)
        self.products = self.products + torch.bmm(off.mT, off).double()

    @property
    def mean(self) -> Tensor:
        """(P, D) float64."""
        return self.first + self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """(P, D, D) float64, unbiased; 0 for a single vector."""
        off = self.sum / self.count
        centred = self.products - self.count * off[:, :, None] * off[:, None]
        return centred / max(self.count - 1, 1)
