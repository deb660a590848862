"""Base class of PaDiM and PatchCore: features of patches in three planes, and a map of the patches' scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.layers.backbone import Backbone, Network, Weights
from uadbench.models.layers.slices import PLANES, Plane
from uadbench.types import Batch, Grid

LEVELS = (1, 2)
"""Levels of the backbone: a patch every 4 pixels, described by features of strides 4 and 8."""

SCANS_AT_ONCE = 8
"""Scans whose features are computed at once; limits memory."""


class PatchModel(Model):
    """Base class of models that score patches of slices in three planes.

    Args:
        network: The pretrained network; see `Backbone`.
        weights: "imagenet" or "random"; see `Backbone`.
        spacing_mm: Distance between slices, in mm; see `Plane`.
        pixel_mm: Side of a pixel, in mm; see `Plane`.
        neighbourhood: Side of the square, in patches, over which features are averaged; odd.

    Raises:
        InputError: If the neighbourhood is even, or the weights are not installed.
    """

    family = "feature-based"
    extra = "features"
    pretrained: ClassVar = {"backbone": "features of ImageNet, from a package or the Hugging Face hub: see backbone.py"}

    def __init__(
        self,
        grid: Grid,
        network: Network,
        weights: Weights,
        spacing_mm: float,
        pixel_mm: float,
        neighbourhood: int = 1,
    ) -> None:
        if neighbourhood % 2 == 0:
            raise InputError(f"neighbourhood={neighbourhood} has no patch in its middle; give an odd number")
        super().__init__(grid)
        self.backbone = Backbone(network, weights, LEVELS)
        self.neighbourhood = neighbourhood
        sizes = (spacing_mm, pixel_mm, self.backbone.stride, self.backbone.coarsest)
        self.planes = [Plane(grid, axis, *sizes) for axis in range(len(PLANES))]

    def scores(self, plane: int, features: Tensor) -> Tensor:
        """Distance of features (N, P, C) of the kept patches of a plane to healthy ones, (N, P)."""
        raise NotImplementedError

    def features(self, plane: int, images: Tensor) -> Tensor:
        """Features (N, P, C) of the kept patches of a plane, from images (N, 1, X, Y, Z)."""
        slices = self.planes[plane].cut(images)
        found = self.backbone(slices.flatten(0, 1))  # (N * S, C, h, w)
        if self.neighbourhood > 1:
            margin = self.neighbourhood // 2
            found = F.avg_pool2d(found, self.neighbourhood, stride=1, padding=margin, count_include_pad=False)
        patches: Tensor = found.unflatten(0, slices.shape[:2]).movedim(2, 4).flatten(1, 3)  # (N, S * h * w, C)
        return patches.index_select(1, self.planes[plane].kept.to(patches.device))

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The patches' scores, interpolated between patches and slices, averaged over the planes."""
        return torch.cat([self._map(images) for images in chunks(batch)])

    def _map(self, images: Tensor) -> Tensor:
        maps = [plane.lift(self.scores(i, self.features(i, images))) for i, plane in enumerate(self.planes)]
        return torch.stack(maps).mean(dim=0)


def chunks(batch: Batch) -> Iterator[Tensor]:
    """Yield the images of a batch in groups of a few scans, (n, 1, X, Y, Z)."""
    yield from torch.split(batch.images, SCANS_AT_ONCE)
