"""Maps of the phantom's average healthy brain: uptake, its variation and change with age, networks, and parcels.

The maps are the same for all participants and are computed once per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, spatial, stats

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.ageing import LOBES
from uadbench.cohorts.synthetic.norms import BASE, REGIONS, ROWS, WHITE
from uadbench.cohorts.synthetic.recipe import Recipe
from uadbench.space import atlas
from uadbench.types import Mask, Volume

# Nodes of networks with correlated uptake: MNI (|x|, y, z) in mm, mirrored to both sides.
NETWORKS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "default mode": ((6, -54, 26), (46, -66, 32), (6, 52, 4), (60, -20, -14)),
    "visual": ((10, -88, 4), (12, -70, 4), (32, -88, 6), (20, -66, -8)),
    "sensorimotor": ((42, -22, 54), (6, -16, 60), (54, -6, 26)),
    "frontoparietal": ((42, 32, 28), (44, -52, 48), (26, 16, 54)),
    "salience": ((38, 14, 2), (4, 28, 26)),
    "temporal": ((40, 10, -32), (54, -32, -16), (24, -18, -20)),
    "subcortical": ((12, -18, 8), (26, 4, 2), (12, 14, 10)),
    "orbitofrontal": ((24, 34, -16), (6, 40, -20)),
}


PARCELS = 120
"""The number of parcels in each half of the forebrain; a parcel is about 2 cm wide."""

MEAN_WIDENING = 0.5
"""The loss of grey matter next to CSF in the average participant."""

WIDENING_PER_DECADE = 0.15
"""The additional loss of grey matter next to CSF in ten years."""

SOLVER_STEPS = 12
SURFACE_MM = 12.0
"""The depth within which affine registration aligns the outer surface of brains, and gyri only shift along it."""


@dataclass(frozen=True)
class Maps:
    """Maps on the phantom's grid, (X, Y, Z) float32 unless stated otherwise.

    Attributes:
        uptake: The uptake of grey and white matter before the blur.
        grey_part: The uptake of grey matter alone.
        near_fluid: The amount of CSF around a voxel, 0 to 1, which determines the loss of grey matter in wider sulci.
        cerebrum: 1 in the forebrain, 0 in cerebellum and brain stem.
        spread: The local between-subject SD, relative to 8 %.
        slope: The relative change per decade.
        leftness: 1 in the left forebrain to -1 in the right forebrain.
        networks: (8, X, Y, Z), the weight of each network.
        lobes: (5, X, Y, Z), the weight of each lobe of `ageing`; they sum to `cerebrum`.
        cortex: 1 in and near the cerebral cortex, 0 in deep tissue and the cerebellum.
        outer: 0 in the centre of the brain to 1 at its surface.
        across: (X, Y, Z, 3), the direction perpendicular to the outer surface of the brain, with a length of 1 near the
            surface and 0 far from it.
        swelling: (X, Y, Z, 3), the outward shift around ventricles that grow by 1 mm, in mm.
        scalp: 1 in a shell around the head, otherwise 0.
        reference: (X, Y, Z) bool, the reference region, whose mean SUVR is 1.
        parcels: (X, Y, Z) int64, the parcels: from 0 on the left, their mirror images from PARCELS on the right, and
            2 * PARCELS outside.
    """

    uptake: torch.Tensor
    grey_part: torch.Tensor
    near_fluid: torch.Tensor
    cerebrum: torch.Tensor
    spread: torch.Tensor
    slope: torch.Tensor
    leftness: torch.Tensor
    networks: torch.Tensor
    lobes: torch.Tensor
    cortex: torch.Tensor
    outer: torch.Tensor
    across: torch.Tensor
    swelling: torch.Tensor
    scalp: torch.Tensor
    reference: torch.Tensor
    parcels: torch.Tensor


@cache
def maps(recipe: Recipe) -> Maps:
    """Compute the maps, which takes a few seconds once per process.

    Args:
        recipe: The phantom recipe.

    Returns:
        The maps.
    """
    grey, white = norms.tissue("grey"), norms.tissue("white")
    brain = atlas.brain_mask(BASE)
    groups = _region_groups()
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    hind = brain & (groups == ROWS["cerebellum"]) | norms.brain_stem()
    near_fluid = _smooth(fluid, 2.0)
    uptake, grey_part = _solve(grey, white, near_fluid, groups, recipe.mean_blur)
    gains = dict(recipe.spread_gain)
    spread = np.array(
        [gains.get(name, 1.0) * region.sd / region.mean / 0.08 for name, region in REGIONS.items()],
        dtype=np.float32,
    )
    cerebrum = 1 - _smooth(hind.astype(np.float32), 4.0)
    outside = ndimage.distance_transform_edt(~brain, sampling=BASE.voxel_mm)
    fields = {
        "uptake": uptake,
        "grey_part": grey_part,
        "near_fluid": near_fluid,
        "cerebrum": cerebrum,
        "spread": _spread_out(spread[groups], grey, 6.0) * (1 - 0.3 * white),
        "slope": _solve_slope(uptake, grey_part, grey, near_fluid, groups, recipe.mean_blur),
        "leftness": -np.tanh(norms.millimetres()[0] / 10) * cerebrum,
        "networks": _network_maps(),
        "lobes": _lobes(cerebrum),
        "cortex": _cortex(groups, grey, cerebrum),
        "outer": np.clip(norms.ellipsoid((0, -18, 8), (60, 80, 60)), 0, 1),
        "across": _across(brain),
        "swelling": _swelling(fluid, brain),
        "scalp": ((outside > 10) & (outside < 16)).astype(np.float32),
        "reference": norms.reference(),
        "parcels": _parcels(brain, hind),
    }
    return Maps(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in fields.items()})


def _region_groups() -> npt.NDArray[np.int64]:
    """The row of REGIONS for each voxel: that of its own label, or of the nearest label."""
    own = norms.region_of_voxel()
    nearest = ndimage.distance_transform_edt(own < 0, return_distances=False, return_indices=True)
    return np.asarray(own[tuple(nearest)])


def _solve(
    grey: Volume, white: Volume, near_fluid: Volume, groups: npt.NDArray[np.int64], blur_mm: float
) -> tuple[Volume, Volume]:
    """The uptake before the blur, and its grey-matter part, for which blurred regional means equal the published ones.

    The levels of regions, deep white matter and pons are found by fixed-point iteration. The level of the cerebellum
    only sets the unit, because SUVR is relative to it.
    """
    inside, own = norms.measured(), norms.region_of_voxel()
    stem = _smooth(norms.brain_stem().astype(np.float32), 3.0)
    kept = np.exp(-MEAN_WIDENING * near_fluid)
    targets = np.array([region.mean for region in REGIONS.values()] + [WHITE])
    levels = targets * np.array([1.3] * len(REGIONS) + [0.85])
    for _ in range(SOLVER_STEPS):
        grey_part = grey * _spread_out(levels[:-1].astype(np.float32)[groups], grey, 2.5)
        white_part = white * (levels[-1] + (levels[ROWS["pons"]] - levels[-1]) * stem).astype(np.float32)
        image = _smooth(grey_part * kept + white_part, blur_mm / 2.3548)
        image /= image[norms.reference()].mean()
        regional = np.bincount(own[inside], weights=image[inside]) / np.bincount(own[inside])
        ratio = targets / [*regional, image[norms.deep_white()].mean()]
        ratio[ROWS["cerebellum"]] = 1
        levels *= ratio
    return grey_part + white_part, grey_part


def _solve_slope(
    uptake: Volume,
    grey_part: Volume,
    grey: Volume,
    near_fluid: Volume,
    groups: npt.NDArray[np.int64],
    blur_mm: float,
) -> Volume:
    """The relative change of uptake per decade for which blurred regional means change as published.

    The effect of wider sulci is taken into account. SUVR is relative to cerebellum and pons, which do not change.
    """
    inside, own = norms.measured(), norms.region_of_voxel()
    voxels = np.bincount(own[inside])

    def regional(volume: Volume) -> npt.NDArray[np.float64]:
        blurred = _smooth(volume, blur_mm / 2.3548)
        return np.asarray(np.bincount(own[inside], weights=blurred[inside]) / voxels)

    kept = np.exp(-MEAN_WIDENING * near_fluid)
    image = uptake - grey_part * (1 - kept)
    widening = regional(-WIDENING_PER_DECADE * near_fluid * kept * grey_part)
    mean = regional(image)
    targets = np.array([region.slope / 100 for region in REGIONS.values()])
    levels = targets.copy()
    for _ in range(SOLVER_STEPS // 2):
        slope = _spread_out(levels.astype(np.float32)[groups], grey, 5.0)
        levels += targets - (regional(image * slope) + widening) / mean
    return slope


def _spread_out(values: Volume, weights: Volume, sigma_mm: float) -> Volume:
    """Blur a regional map, weighted by grey matter, so that it contains no borders of the atlas."""
    return np.asarray(_smooth(values * (weights + 1e-3), sigma_mm) / _smooth(weights + 1e-3, sigma_mm))


def _smooth(volume: Volume, sigma_mm: float) -> Volume:
    return np.asarray(ndimage.gaussian_filter(volume, sigma_mm / BASE.voxel_mm), dtype=np.float32)


def _network_maps() -> Volume:
    """(networks, X, Y, Z): Gaussians of 18 mm SD around each node and its mirror image."""
    hills = []
    for nodes in NETWORKS.values():
        both = [(sign * x, y, z) for x, y, z in nodes for sign in (-1, 1)]
        hills.append(np.asarray(np.max([np.exp(-0.5 * norms.ellipsoid(node, (18, 18, 18))) for node in both], axis=0)))
    return np.stack(hills)


def _lobes(cerebrum: Volume) -> Volume:
    """(lobes, X, Y, Z): a smooth partition of the forebrain by the distance to the centres of LOBES."""
    near = []
    for nodes in LOBES.values():
        both = [(sign * x, y, z) for x, y, z in nodes for sign in (-1, 1)]
        hill = np.max([np.exp(-0.5 * norms.ellipsoid(node, (14, 14, 14))) for node in both], axis=0)
        near.append(np.asarray(hill + 1e-6))
    hills = np.stack(near)
    return np.asarray(hills / hills.sum(axis=0) * cerebrum, dtype=np.float32)


def _parcels(brain: Mask, hind: Mask) -> npt.NDArray[np.int64]:
    """(X, Y, Z): a symmetric parcellation into the neighbourhoods of quasi-random points, independent of any atlas.

    It is used for differences between healthy participants. Simulated lesions follow AAL3, so the borders of these
    parcels must differ from those of AAL3.
    """
    x, y, z = (np.broadcast_to(m, BASE.shape) for m in norms.millimetres())
    positions = np.stack([np.abs(x), y, z], axis=-1)
    forebrain = brain & ~hind
    points = positions[forebrain & (x > 0)]
    low, high = points.min(axis=0), points.max(axis=0)
    drawn = low + (high - low) * stats.qmc.Halton(3, scramble=False).random(20 * PARCELS)
    near, _ = spatial.KDTree(points).query(drawn)
    centres = drawn[near < 2 * BASE.voxel_mm][:PARCELS]
    cells = np.full(BASE.shape, 2 * PARCELS)
    cells[forebrain] = spatial.KDTree(centres).query(positions[forebrain])[1] + PARCELS * (x[forebrain] > 0)
    return cells


def _cortex(groups: npt.NDArray[np.int64], grey: Volume, cerebrum: Volume) -> Volume:
    deep = np.isin(groups, [ROWS[name] for name in ("putamen", "pallidum", "caudate", "thalamus", "midbrain", "pons")])
    x, y, z = norms.millimetres()
    core = (x / 26) ** 2 + ((y + 16) / 40) ** 2 + ((z - 8) / 30) ** 2 < 1  # ventricles, callosum and deep nuclei
    near = _smooth(((grey > 0.4) & ~deep & ~core).astype(np.float32), 8.0)
    return np.asarray(np.clip(2.5 * near, 0, 1) * cerebrum, dtype=np.float32)


def _across(brain: Mask) -> Volume:
    inside = ndimage.distance_transform_edt(brain, sampling=BASE.voxel_mm)
    outside = ndimage.distance_transform_edt(~brain, sampling=BASE.voxel_mm)
    depth = _smooth((inside - outside).astype(np.float32), 6.0)
    normal = np.stack(list(np.gradient(depth, BASE.voxel_mm)), axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 0.2)
    return np.asarray(normal * np.exp(-0.5 * (depth / SURFACE_MM) ** 2)[..., None], dtype=np.float32)


def _swelling(fluid: Volume, brain: Mask) -> Volume:
    """(X, Y, Z, 3): the displacement of tissue, in mm, when the walls of ventricles move outward by about 1 mm."""
    depth = ndimage.distance_transform_edt(brain, sampling=BASE.voxel_mm)
    ventricles = (fluid > 0.5) & (depth > 22)
    hill = _smooth(ventricles.astype(np.float32), 6.0)
    outward = -np.stack(list(np.gradient(hill, BASE.voxel_mm)), axis=-1)
    return np.asarray(outward / np.linalg.norm(outward, axis=-1).max(), dtype=np.float32)
