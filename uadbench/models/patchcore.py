"""PatchCore (`patchcore`): distance of a patch's pretrained features to the nearest in a bank of healthy patches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uadbench.models.layers.backbone import Network, Weights
from uadbench.models.layers.slices import PLANES
from uadbench.models.patches import PatchModel, chunks
from uadbench.registry import register_model
from uadbench.types import Batch, Grid

CANDIDATES = 15_000
"""Approximate number of training patches per plane from which the bank is chosen; limits memory and time."""

PATCHES_AT_ONCE = 256
"""Patches that are compared with the bank at once; their products fit into the processor's cache."""

PROJECTED = 128
"""Dimensions to which features are projected while the bank is chosen, if they have more (as in the paper)."""


@register_model("patchcore")
class PatchCore(PatchModel):
    """Distance of pretrained features to the nearest healthy ones, patch by patch, in three planes.

    After Roth et al. 2022: mid-level features, a bank chosen by greedy k-centre selection, and the distance to the
    nearest neighbour. Differs from the paper: slices in three planes, with one bank each, instead of one picture; a
    smaller network; by default no averaging of features over a neighbourhood, since patches lie 16 mm apart; a bank
    that is chosen from a random part of the patches and has a fixed size; no score of the whole scan, and therefore no
    weighting by the density of the bank. The bank does not store where in the brain a patch lies. The distance has no
    sign: increased uptake scores as high as decreased uptake.

    Args:
        bank: Number of patches in the bank of each plane.
        neighbourhood: Side of the square, in patches, over which features are averaged; odd.
        spacing_mm: Distance between slices, in mm.
        pixel_mm: Side of a pixel, in mm.
        network: The pretrained network; see `Backbone`.
        weights: "imagenet" or "random"; see `Backbone`.

    Raises:
        InputError: If the neighbourhood is even, or the weights are not installed.
    """

    recipes: ClassVar = {"quick": {"bank": 6000}}
    reference = "Roth et al. 2022, CVPR, arXiv:2106.08265"
    bank: Tensor

    def __init__(
        self,
        grid: Grid,
        bank: Annotated[int, Field(ge=1)] = 3000,
        neighbourhood: Annotated[int, Field(ge=1)] = 1,
        spacing_mm: Annotated[float, Field(gt=0)] = 12.0,
        pixel_mm: Annotated[float, Field(gt=0)] = 4.0,
        network: Network = "tf_efficientnet_lite0",
        weights: Weights = "imagenet",
    ) -> None:
        super().__init__(grid, network, weights, spacing_mm, pixel_mm, neighbourhood)
        self.register_buffer("bank", torch.zeros(len(PLANES), bank, self.backbone.channels))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Draw patches from every scan at random, and choose the bank of each plane from them."""
        each = math.ceil(CANDIDATES / sum(len(batch) for batch in batches))
        # one generator per plane, so that the batch size does not change what is drawn
        generators = [torch.Generator().manual_seed(int(torch.randint(2**62, (1,)))) for _ in self.planes]
        found: list[list[Tensor]] = [[] for _ in self.planes]
        for batch in batches:
            for images in chunks(batch):
                for index, kept in enumerate(found):
                    kept += [_some(scan, each, generators[index]) for scan in self.features(index, images)]
        for index, kept in enumerate(found):
            candidates = torch.cat(kept)
            self.bank[index] = candidates[k_centres(projected(candidates), self.bank.shape[1])]

    def scores(self, plane: int, features: Tensor) -> Tensor:
        """The Euclidean distance to the nearest patch of the bank, (N, P)."""
        bank = self.bank[plane]
        flat = features.flatten(0, 1)
        squares = bank.square().sum(dim=1)
        parts = torch.split(flat, PATCHES_AT_ONCE)
        nearest = torch.cat([torch.addmm(squares, part, bank.T, alpha=-2).argmin(dim=1) for part in parts])
        # the product suffices to find the nearest patch, but would round away a small distance
        distance: Tensor = torch.linalg.vector_norm(flat - bank[nearest], dim=1)
        return distance.view(features.shape[:2])


def k_centres(points: Tensor, count: int) -> Tensor:
    """Choose points by greedy k-centre selection (Gonzalez 1985, Theor Comput Sci 38:293; algorithm 1 of PatchCore).

    The first point is drawn at random; each further one is the point farthest from all points chosen before.

    Args:
        points: The points to choose from, (M, D).
        count: How many to choose. If it exceeds M, some are chosen more than once.

    Returns:
        Indices of the chosen points, (count,) int64.
    """
    chosen = [int(torch.randint(len(points), (1,)))]
    distance = torch.full((len(points),), torch.inf, device=points.device)
    while len(chosen) < count:
        newest = points[chosen[-1] : chosen[-1] + 1]
        distance = torch.minimum(distance, torch.cdist(points, newest).squeeze(1))
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen, device=points.device)


def projected(points: Tensor) -> Tensor:
    """Points (M, D), projected at random to PROJECTED dimensions if D is larger.

    Distances are preserved to a few per cent (Johnson and Lindenstrauss 1984).
    """
    channels = points.shape[1]
    if channels <= PROJECTED:
        return points
    return points @ (torch.randn(channels, PROJECTED) / math.sqrt(PROJECTED)).to(points.device)


def _some(patches: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random choice of at most `count` of the patches (P, C) of a scan."""
    return patches[torch.randperm(len(patches), generator=generator)[:count].to(patches.device)]
