"""Published healthy FDG PET in numbers, and the voxels that each number is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from uadbench.space import atlas
from uadbench.types import Grid, Mask, Volume

BASE = Grid((85, 105, 90), 2.0, (-84.0, -119.0, -78.0))
"""The lattice on which cohorts are measured and the phantom is made: Clinica's cropped CAPS space at 2 mm."""


@dataclass(frozen=True)
class Region:
    """What is known of one region in healthy adults.

    Attributes:
        prefixes: How the names of its AAL3 labels begin.
        mean, sd: SUVR (reference: cerebellum and pons), and its SD between people.
        slope: Per cent change per decade of age.
        published: False where mean and SD lie between their neighbours', because the source is silent.
    """

    prefixes: tuple[str, ...]
    mean: float
    sd: float
    slope: float
    published: bool = True


# Means and SDs: 537 cognitively normal adults, rescaled from a public pons-normalised FreeSurfer table.
# Slopes: after Loessner 1995 (J Neuroimaging 5:167), Shen 2012, Allocca 2021; ours where they differ.
REGIONS = {
    "precuneus": Region(("Precuneus",), 1.33, 0.10, -1.5),
    "posterior cingulate": Region(("Cingulate_Post",), 1.24, 0.10, -1.5),
    "isthmus cingulate": Region((), 1.21, 0.10, -1.5),  # the lower part of AAL3's posterior cingulate
    "middle cingulate": Region(("Cingulate_Mid",), 1.18, 0.10, -2.0, published=False),
    "dorsolateral parietal": Region(("Parietal", "SupraMarginal", "Angular"), 1.14, 0.09, -1.5),
    "lateral temporal": Region(("Temporal_Sup", "Temporal_Mid", "Temporal_Inf"), 1.05, 0.07, -1.5),
    "auditory": Region(("Heschl",), 1.15, 0.09, -1.5, published=False),
    "temporal pole": Region(("Temporal_Pole",), 0.93, 0.07, -2.0, published=False),
    "mesial temporal": Region(("ParaHippocampal", "Fusiform"), 1.02, 0.06, -1.0),
    "hippocampus": Region(("Hippocampus", "Amygdala"), 0.86, 0.06, -1.0),
    "lateral occipital": Region(("Occipital",), 1.15, 0.11, 0.0),
    "pericalcarine": Region(("Calcarine",), 1.42, 0.13, 0.0),
    "cuneus": Region(("Cuneus",), 1.33, 0.12, 0.0, published=False),
    "lingual": Region(("Lingual",), 1.24, 0.09, 0.0, published=False),
    "superior frontal": Region(("Frontal_Sup", "Supp_Motor_Area"), 1.17, 0.09, -3.0),
    "dorsolateral frontal": Region(("Frontal_Mid_2", "Frontal_Inf_Oper", "Frontal_Inf_Tri"), 1.23, 0.09, -3.0),
    "orbitofrontal": Region(("Frontal_Inf_Orb", "Frontal_Med_Orb", "Rectus", "OFC"), 1.13, 0.08, -3.0),
    "sensorimotor": Region(("Precentral", "Postcentral", "Paracentral"), 1.13, 0.09, -1.5, published=False),
    "opercular": Region(("Rolandic",), 1.10, 0.08, -2.0, published=False),
    "anterior cingulate": Region(("ACC",), 1.05, 0.09, -3.0),
    "insula": Region(("Insula",), 1.07, 0.08, -3.0),
    "olfactory": Region(("Olfactory", "N_Acc"), 0.97, 0.08, -2.0, published=False),
    "putamen": Region(("Putamen",), 1.34, 0.11, -1.0),
    "pallidum": Region(("Pallidum",), 1.12, 0.09, -1.0, published=False),
    "caudate": Region(("Caudate",), 0.94, 0.11, -1.5),
    "thalamus": Region(("Thal",), 1.04, 0.07, -1.0),
    "midbrain": Region(("VTA", "SN", "Red_N", "LC", "Raphe"), 0.88, 0.05, 0.0, published=False),
    "pons": Region((), 0.80, 0.03, 0.0, published=False),  # AAL3 has none: see `pons`
    "cerebellum": Region(("Cerebellum", "Vermis"), 1.02, 0.03, 0.0),
}
"""The mean of the cerebellum is published, its SD is ours (it is most of the reference)."""

ROWS = {name: row for row, name in enumerate(REGIONS)}
WHITE = 0.62
"""SUVR of deep white matter after the scanner's blur."""

ISTHMUS_BELOW_MM = 24.0
META_REGION = ("Angular", "Cingulate_Post", "Temporal_Inf")
"""Where Alzheimer's disease shows first: AAL3's reading of Landau et al. 2011 (Neurobiol Aging 32:1207)."""


@cache
def labels() -> npt.NDArray[np.uint8]:
    """AAL3 label of each voxel of BASE."""
    volume, affine = atlas.aal3()
    return atlas.resample(volume, affine, BASE.affine, BASE.shape, order=0).astype(np.uint8)


@cache
def tissue(kind: str) -> Volume:
    """Probability of "grey" or "white" matter on BASE; smoothed to its voxel size first, so that thin folds survive."""
    volume, affine = atlas.tissue(kind)
    return atlas.resample(ndimage.gaussian_filter(volume, 0.8), affine, BASE.affine, BASE.shape)


@cache
def region_of_voxel() -> npt.NDArray[np.int64]:
    """(X, Y, Z): the position in REGIONS that each voxel's label belongs to; -1 for no label."""
    lookup = np.full(256, -1)
    for name, label in atlas.region_ids().items():
        prefixes = [(prefix, ROWS[region]) for region in REGIONS for prefix in REGIONS[region].prefixes]
        # the longest prefix wins: Temporal_Pole_Sup before Temporal
        lookup[label] = max((len(prefix), row) for prefix, row in prefixes if name.startswith(prefix))[1]
    own = lookup[labels()]
    own[(own == ROWS["posterior cingulate"]) & (millimetres()[2] < ISTHMUS_BELOW_MM)] = ROWS["isthmus cingulate"]
    own[(own < 0) & pons()] = ROWS["pons"]
    return own


@cache
def measured() -> Mask:
    """Where regional means are taken: labelled voxels with grey matter above 0.2, and the pons.

    The published regions are cortical ribbons; AAL3's labels reach far into white matter and sulci.
    """
    own = region_of_voxel()
    return np.asarray((own >= 0) & ((tissue("grey") > 0.2) | (own == ROWS["pons"])))


@cache
def meta_region() -> Mask:
    """The measured voxels of META_REGION."""
    ids = [label for name, label in atlas.region_ids().items() if name.startswith(META_REGION)]
    return np.asarray(np.isin(labels(), ids) & measured())


@cache
def reference() -> Mask:
    """Cerebellum (measured voxels) and pons: their mean is SUVR 1."""
    return np.asarray(measured() & np.isin(region_of_voxel(), [ROWS["cerebellum"], ROWS["pons"]]))


@cache
def pons() -> Mask:
    """White matter inside an ellipsoid: centre (0, -28, -35), half axes (15, 11, 13) mm in MNI.

    AAL3 has no pons; the ellipsoid covers its belly and tegmentum on the ICBM 2009 template.
    """
    return np.asarray((ellipsoid((0, -28, -35), (15, 11, 13)) < 1) & (tissue("white") > 0.3))


@cache
def brain_stem() -> Mask:
    """Pons and medulla, generously."""
    return np.asarray((ellipsoid((0, -30, -35), (18, 14, 16)) < 1) | (ellipsoid((0, -42, -58), (13, 13, 18)) < 1))


@cache
def deep_white() -> Mask:
    """Forebrain white matter at least 4 mm away from anything else."""
    white = (tissue("white") > 0.9) & ~brain_stem()
    return np.asarray(ndimage.binary_erosion(white, iterations=2), dtype=np.bool_)


@cache
def pure_grey() -> Mask:
    """Voxels that are mostly grey matter."""
    return np.asarray(tissue("grey") > 0.6)


@cache
def millimetres() -> tuple[Volume, Volume, Volume]:
    """MNI coordinates of BASE, as three arrays that broadcast to its shape."""
    steps = [BASE.voxel_mm * np.arange(count, dtype=np.float32) for count in BASE.shape]
    x, y, z = np.ix_(*(np.float32(start) + step for start, step in zip(BASE.origin, steps, strict=True)))
    return x, y, z


def ellipsoid(centre: tuple[float, float, float], half_axes: tuple[float, float, float]) -> Volume:
    """Squared distance from a centre in units of the half axes, (X, Y, Z): below 1 inside."""
    terms = [((m - c) / a) ** 2 for m, c, a in zip(millimetres(), centre, half_axes, strict=True)]
    return np.asarray(terms[0] + terms[1] + terms[2], dtype=np.float32)
