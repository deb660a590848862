"""The average healthy brain behind the phantom: where uptake is, how much, and how it varies with place.

Everything here is the same for every participant and is prepared once per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from uadbench import atlas
from uadbench.types import Grid, Volume

BASE = Grid((85, 105, 90), 2.0, (-84.0, -119.0, -78.0))
"""The lattice on which scans are made: the field of view of Clinica's cropped CAPS space at 2 mm."""

# (AAL3 name prefixes, mean SUVR, between-subject SD, per cent change per decade of age).
# Means and SDs: 537 cognitively normal adults, rescaled from a public pons-normalised FreeSurfer table; where that
# table is silent the value lies between its neighbours', in the order seen on published average templates.
# Slopes: after Loessner 1995 (J Neuroimaging 5:167), Shen 2012, Allocca 2021; ours where they differ.
REGIONS: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    "precuneus": (("Precuneus",), 1.33, 0.10, -1.5),
    "posterior cingulate": (("Cingulate_Post",), 1.24, 0.10, -1.5),
    "middle cingulate": (("Cingulate_Mid",), 1.18, 0.10, -2.0),
    "dorsolateral parietal": (("Parietal", "SupraMarginal", "Angular"), 1.14, 0.09, -1.5),
    "lateral temporal": (("Temporal_Sup", "Temporal_Mid", "Temporal_Inf"), 1.05, 0.07, -1.5),
    "auditory": (("Heschl",), 1.15, 0.09, -1.5),
    "temporal pole": (("Temporal_Pole",), 0.93, 0.07, -2.0),
    "mesial temporal": (("ParaHippocampal", "Fusiform"), 1.02, 0.06, -1.0),
    "hippocampus": (("Hippocampus", "Amygdala"), 0.86, 0.06, -1.0),
    "lateral occipital": (("Occipital",), 1.15, 0.11, 0.0),
    "pericalcarine": (("Calcarine",), 1.42, 0.13, 0.0),
    "cuneus": (("Cuneus",), 1.33, 0.12, 0.0),
    "lingual": (("Lingual",), 1.24, 0.09, 0.0),
    "superior frontal": (("Frontal_Sup", "Supp_Motor_Area"), 1.17, 0.09, -3.0),
    "dorsolateral frontal": (("Frontal_Mid_2", "Frontal_Inf_Oper", "Frontal_Inf_Tri"), 1.23, 0.09, -3.0),
    "orbitofrontal": (("Frontal_Inf_Orb", "Frontal_Med_Orb", "Rectus", "OFC"), 1.13, 0.08, -3.0),
    "sensorimotor": (("Precentral", "Postcentral", "Paracentral"), 1.13, 0.09, -1.5),
    "opercular": (("Rolandic",), 1.10, 0.08, -2.0),
    "anterior cingulate": (("ACC",), 1.05, 0.09, -3.0),
    "insula": (("Insula",), 1.07, 0.08, -3.0),
    "olfactory": (("Olfactory", "N_Acc"), 0.97, 0.08, -2.0),
    "putamen": (("Putamen",), 1.34, 0.11, -1.0),
    "pallidum": (("Pallidum",), 1.12, 0.09, -1.0),
    "caudate": (("Caudate",), 0.94, 0.11, -1.5),
    "thalamus": (("Thal",), 1.04, 0.07, -1.0),
    "midbrain": (("VTA", "SN", "Red_N", "LC", "Raphe"), 0.88, 0.05, 0.0),
    "cerebellum": (("Cerebellum", "Vermis"), 1.02, 0.03, 0.0),
}
WHITE, PONS = 0.62, 0.80
"""SUVR of deep white matter and of the pons after the scanner's blur."""

# Nodes of the networks whose uptake varies together: MNI (|x|, y, z) in mm, mirrored to both sides.
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


MEAN_BLUR = 9.5
"""FWHM in mm of the blur in an average over people: the scanner's 8 mm, and their differences in shape."""

MEAN_WIDENING = 0.5
"""How much grey matter beside fluid the mean participant has lost."""

SOLVER_STEPS = 12


@dataclass(frozen=True)
class Maps:
    """Maps on the base lattice, (X, Y, Z) float32 tensors.

    `uptake` is grey and white matter together before the blur; `grey_part` is grey matter's share of it;
    `near_fluid` is the fluid around a voxel, 0..1, which grey matter recedes from when sulci widen;
    `cerebrum` is 1 in the forebrain, 0 in cerebellum and brain stem; `spread` is the local between-subject
    SD relative to 8 %; `slope` is the relative change per decade; `networks` is (8, X, Y, Z); `swelling` is
    (X, Y, Z, 3), the outward shift in mm around ventricles that grow by 1 mm; `scalp` is 1 in a shell around
    the head; `reference` is where the mean is SUVR 1.
    """

    uptake: torch.Tensor
    grey_part: torch.Tensor
    near_fluid: torch.Tensor
    cerebrum: torch.Tensor
    spread: torch.Tensor
    slope: torch.Tensor
    networks: torch.Tensor
    swelling: torch.Tensor
    scalp: torch.Tensor
    reference: torch.Tensor


@cache
def maps() -> Maps:
    """Prepare the maps (a few seconds, once per process)."""
    grey, white = tissue_on_base("grey"), tissue_on_base("white")
    brain = atlas.brain_mask(BASE)
    groups = region_groups(grey)
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    hind = brain & (groups == list(REGIONS).index("cerebellum")) | brain_stem()
    near_fluid = _smooth(fluid, 2.0)
    uptake, grey_part = _solve(grey, white, near_fluid, groups)
    table = np.array([(sd / mean / 0.08, slope / 100) for _, mean, sd, slope in REGIONS.values()], dtype=np.float32)
    outside = ndimage.distance_transform_edt(~brain, sampling=BASE.voxel_mm)
    fields = {
        "uptake": uptake,
        "grey_part": grey_part,
        "near_fluid": near_fluid,
        "cerebrum": 1 - _smooth(hind.astype(np.float32), 4.0),
        "spread": _spread_out(table[groups, 0], grey, 6.0) * (1 - 0.3 * white),
        "slope": _spread_out(table[groups, 1], grey, 8.0),
        "networks": _network_maps(),
        "swelling": _swelling(fluid, brain),
        "scalp": ((outside > 10) & (outside < 16)).astype(np.float32),
        "reference": reference_mask(),
    }
    return Maps(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in fields.items()})


@cache
def labels_on_base() -> npt.NDArray[np.uint8]:
    """AAL3 label of each voxel of the base lattice."""
    volume, affine = atlas.aal3()
    return atlas.resample(volume, affine, BASE.affine, BASE.shape, order=0).astype(np.uint8)


@cache
def tissue_on_base(kind: str) -> Volume:
    """Tissue probability on the base lattice; smoothed to its voxel size first, so that thin folds survive."""
    volume, affine = atlas.tissue(kind)
    return atlas.resample(ndimage.gaussian_filter(volume, 0.8), affine, BASE.affine, BASE.shape)


@cache
def reference_mask() -> npt.NDArray[np.bool_]:
    """Cerebellum (all AAL3 cerebellar labels) and pons: their mean is SUVR 1."""
    names = atlas.region_ids()
    ids = [names[n] for n in names if n.startswith(REGIONS["cerebellum"][0])]
    return np.isin(labels_on_base(), ids) | pons()


@cache
def pons() -> npt.NDArray[np.bool_]:
    """White matter inside an ellipsoid: centre (0, -28, -35), half axes (15, 11, 13) mm in MNI.

    AAL3 has no pons; the ellipsoid covers its belly and tegmentum on the ICBM 2009 template.
    """
    return (_ellipsoid((0, -28, -35), (15, 11, 13)) < 1) & (tissue_on_base("white") > 0.3)


@cache
def deep_white() -> npt.NDArray[np.bool_]:
    """Forebrain white matter at least 4 mm away from anything else."""
    white = (tissue_on_base("white") > 0.9) & ~brain_stem()
    return np.asarray(ndimage.binary_erosion(white, iterations=2), dtype=np.bool_)


def brain_stem() -> npt.NDArray[np.bool_]:
    """Pons and medulla, generously."""
    return (_ellipsoid((0, -30, -35), (18, 14, 16)) < 1) | (_ellipsoid((0, -42, -58), (13, 13, 18)) < 1)


@cache
def _region_lookup() -> npt.NDArray[np.int64]:
    """AAL3 label (0..255) to the position of its row in REGIONS; -1 for none."""
    lookup = np.full(256, -1)
    for name, label in atlas.region_ids().items():
        prefixes = [(prefix, row) for row, (group, *_) in enumerate(REGIONS.values()) for prefix in group]
        lookup[label] = max((len(prefix), row) for prefix, row in prefixes if name.startswith(prefix))[
            1
        ]  # the longest prefix wins: Temporal_Pole_Sup before Temporal
    return lookup


def region_groups(grey: Volume) -> npt.NDArray[np.int64]:
    """The row of REGIONS that each voxel belongs to: its own label's, or the nearest label's."""
    own = _region_lookup()[labels_on_base()]
    nearest = ndimage.distance_transform_edt(own < 0, return_distances=False, return_indices=True)
    return np.asarray(own[tuple(nearest)])


def _solve(grey: Volume, white: Volume, near_fluid: Volume, groups: npt.NDArray[np.int64]) -> tuple[Volume, Volume]:
    """Uptake before the blur such that the mean person's blurred regional means are the table's.

    Fixed-point iteration on the levels of the regions, deep white matter and the pons. The cerebellum's
    own level only sets the unit: SUVR is relative to it. Returns the whole uptake and its grey part.
    """
    inside, own = measured_voxels(grey)
    deep = deep_white()
    stem = _smooth(brain_stem().astype(np.float32), 3.0)
    kept = np.exp(-MEAN_WIDENING * near_fluid)
    targets = np.array([mean for _, mean, *_ in REGIONS.values()] + [WHITE, PONS])
    levels = targets * np.array([1.3] * len(REGIONS) + [0.85, 1.0])
    unit = list(REGIONS).index("cerebellum")
    for _ in range(SOLVER_STEPS):
        grey_part = grey * _spread_out(levels[:-2].astype(np.float32)[groups], grey, 2.5)
        white_part = white * (levels[-2] + (levels[-1] - levels[-2]) * stem).astype(np.float32)
        image = _smooth(grey_part * kept + white_part, MEAN_BLUR / 2.3548)
        image /= image[reference_mask()].mean()
        regional = np.bincount(own[inside], weights=image[inside]) / np.bincount(own[inside])
        ratio = targets / [*regional, image[deep].mean(), image[pons()].mean()]
        ratio[unit] = 1
        levels *= ratio
    return grey_part + white_part, grey_part


def measured_voxels(grey: Volume) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Where regional means are taken, and the row of REGIONS there: labelled voxels with grey matter above 0.2.

    The table's regions are cortical ribbons; AAL3's labels reach far into white matter and sulci.
    """
    own = _region_lookup()[labels_on_base()]
    return (own >= 0) & (grey > 0.2), own


def _spread_out(values: Volume, weights: Volume, sigma_mm: float) -> Volume:
    """Blur a regional map so that no atlas border is left in it; grey matter alone gives its value."""
    return np.asarray(_smooth(values * (weights + 1e-3), sigma_mm) / _smooth(weights + 1e-3, sigma_mm))


def _smooth(volume: Volume, sigma_mm: float) -> Volume:
    return np.asarray(ndimage.gaussian_filter(volume, sigma_mm / BASE.voxel_mm), dtype=np.float32)


def millimetres() -> tuple[Volume, Volume, Volume]:
    """MNI coordinates of the base lattice, as three arrays that broadcast to its shape."""
    steps = [BASE.voxel_mm * np.arange(count, dtype=np.float32) for count in BASE.shape]
    x, y, z = np.ix_(*(np.float32(start) + step for start, step in zip(BASE.origin, steps, strict=True)))
    return x, y, z


def _ellipsoid(centre: tuple[float, float, float], half_axes: tuple[float, float, float]) -> Volume:
    """Squared distance from a centre in units of the half axes: below 1 inside."""
    terms = [((m - c) / a) ** 2 for m, c, a in zip(millimetres(), centre, half_axes, strict=True)]
    return np.asarray(terms[0] + terms[1] + terms[2], dtype=np.float32)


def _network_maps() -> Volume:
    """(networks, X, Y, Z): Gaussian hills of 18 mm SD around each node and its mirror image."""
    hills = []
    for nodes in NETWORKS.values():
        both = [(sign * x, y, z) for x, y, z in nodes for sign in (-1, 1)]
        hills.append(np.asarray(np.max([np.exp(-0.5 * _ellipsoid(node, (18, 18, 18))) for node in both], axis=0)))
    return np.stack(hills)


def _swelling(fluid: Volume, brain: npt.NDArray[np.bool_]) -> Volume:
    """(X, Y, Z, 3): how far tissue moves, in mm, when the ventricles' walls move out by about 1 mm."""
    depth = ndimage.distance_transform_edt(brain, sampling=BASE.voxel_mm)
    ventricles = (fluid > 0.5) & (depth > 22)
    hill = _smooth(ventricles.astype(np.float32), 6.0)
    outward = -np.stack(list(np.gradient(hill, BASE.voxel_mm)), axis=-1)
    return np.asarray(outward / np.linalg.norm(outward, axis=-1).max(), dtype=np.float32)
