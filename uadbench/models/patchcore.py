"""PatchCore: how far the pretrained features of a patch are from the nearest ones in a bank of healthy patches."""

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
"""About so many patches of the training scans, of each plane, may come into the bank; bounds memory and time."""

PATCHES_AT_ONCE = 256
"""Are compared with the bank: the products of so many stay in the processor's cache."""

PROJECTED = 128
"""Features with more channels are projected to so many while the bank is chosen (the paper's number)."""


@register_model("patchcore")
class PatchCore(PatchModel):
    """Distance of pretrained features to the nearest healthy ones, patch by patch, in three planes.

    After Roth et al. 2022, of whom it keeps mid-level features, a bank chosen by greedy k-centre selection, and the
    distance to the nearest neighbour. Different here: slices in three planes, with a bank each, instead of one picture;
    a smaller network; features are not averaged over a neighbourhood unless asked for, since patches lie 16 mm
    apart; the bank is chosen from a random part of the patches, and has a fixed size instead of a fraction of them;
    no score of the whole scan, so that its weighting by the density of the bank is not needed. The bank does not know
    where in the brain a patch lies. A distance has no sign: raised uptake is as suspicious as lowered uptake.

    Args:
        bank: Patches that are kept, of each plane.
        neighbourhood: Side of the square, in patches, over which features are averaged; odd.
        spacing_mm, pixel_mm: Between slices; side of a pixel.
        network, weights: See `Backbone`.

    Raises:
        InputError: For an even neighbourhood, or weights that are not installed.
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
        """A random part of every scan's patches, and of these the bank, plane by plane."""
        each = math.ceil(CANDIDATES / sum(len(batch) for batch in batches))
        # one generator a plane: how scans are batched changes no draw
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
        """The Euclidean distance to the nearest patch of the bank."""
        bank = self.bank[plane]
        flat = features.flatten(0, 1)
        squares = bank.square().sum(dim=1)
        parts = torch.split(flat, PATCHES_AT_ONCE)
        nearest = torch.cat([torch.addmm(squares, part, bank.T, alpha=-2).argmin(dim=1) for part in parts])
        # the product finds the nearest, and would round away a small distance
        distance: Tensor = torch.linalg.vector_norm(flat - bank[nearest], dim=1)
        return distance.view(features.shape[:2])


def k_centres(points: Tensor, count: int) -> Tensor:
    """Indices (count,) of points (M, D), each the farthest from those before it, the first drawn at random.

    Greedy k-centre selection (Gonzalez 1985, Theor Comput Sci 38:293; algorithm 1 of PatchCore). Where there are fewer
    points than `count`, some are there more than once.
    """
    chosen = [int(torch.randint(len(points), (1,)))]
    distance = torch.full((len(points),), torch.inf, device=points.device)
    while len(chosen) < count:
        newest = points[chosen[-1] : chosen[-1] + 1]
        distance = torch.minimum(distance, torch.cdist(points, newest).squeeze(1))
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen, device=points.device)


def projected(points: Tensor) -> Tensor:
    """Points (M, D) in a random space of PROJECTED dimensions, or as they are where D is no larger.

    Distances are kept to a few per cent (Johnson and Lindenstrauss 1984).
    """
    channels = points.shape[1]
    if channels <= PROJECTED:
        return points
    return points @ (torch.randn(channels, PROJECTED) / math.sqrt(PROJECTED)).to(points.device)


def _some(patches: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the patches (P, C) of a scan at random, or all."""
    return patches[torch.randperm(len(patches), generator=generator)[:count].to(patches.device)]
