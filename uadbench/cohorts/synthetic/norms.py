"""Published regional values of healthy FDG PET, and the masks of the regions on the phantom's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from uadbench.space import atlas
from uadbench.types import Grid, Mask, Volume

BASE = Grid((85, 105, 90), 2.0, (-84.0, -119.0, -78.0))
"""The grid on which the phantom is generated and cohorts are measured: Clinica's cropped CAPS space at 2 mm."""


@dataclass(frozen=True)
class Region:
    """Values of a region in healthy adults.

    Attributes:
        prefixes: The prefixes of the names of its AAL3 labels.
        mean: The mean SUVR (reference: cerebellum and pons).
        sd: The between-subject SD of the SUVR.
        slope: The change per decade of age, in per cent.
        published: False if the source has no values, so that mean and SD were interpolated from neighbouring regions.
    """

    prefixes: tuple[str, ...]
    mean: float
    sd: float
    slope: float
    published: bool = True


# Means and SDs: 537 cognitively normal adults, rescaled from a public pons-normalised FreeSurfer table.
# Slopes: after Loessner 1995 (J Neuroimaging 5:167), Shen 2012, Allocca 2021; chosen by us where these differ.
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
    "pons": Region((), 0.80, 0.03, 0.0, published=False),  # not in AAL3: see `pons`
    "cerebellum": Region(("Cerebellum", "Vermis"), 1.02, 0.03, 0.0),
}
"""Regional values. The mean of the cerebellum is published; its SD was chosen by us (it is most of the reference)."""

ROWS = {name: row for row, name in enumerate(REGIONS)}
WHITE = 0.62
"""The SUVR of deep white matter after the blur of the scanner."""

ISTHMUS_BELOW_MM = 24.0
META_REGION = ("Angular", "Cingulate_Post", "Temporal_Inf")
"""The regions of early Alzheimer's disease: the AAL3 equivalents of Landau et al. 2011 (Neurobiol Aging 32:1207)."""


@cache
def labels() -> npt.NDArray[np.uint8]:
    """The AAL3 label of each voxel of BASE, (X, Y, Z) uint8."""
    volume, affine = atlas.aal3()
    return atlas.resample(volume, affine, BASE.affine, BASE.shape, order=0).astype(np.uint8)


@cache
def tissue(kind: str) -> Volume:
    """The probability of grey or white matter on BASE.

    The map is smoothed to the voxel size before resampling, so that thin gyri are preserved.

    Args:
        kind: "grey" or "white".

    Returns:
        (X, Y, Z) float32, 0 to 1.
    """
    volume, affine = atlas.tissue(kind)
    return atlas.resample(ndimage.gaussian_filter(volume, 0.8), affine, BASE.affine, BASE.shape)


@cache
def region_of_voxel() -> npt.NDArray[np.int64]:
    """The row of REGIONS for each voxel, (X, Y, Z) int64; -1 without a label."""
    lookup = np.full(256, -1)
    for name, label in atlas.region_ids().items():
        prefixes = [(prefix, ROWS[region]) for region in REGIONS for prefix in REGIONS[region].prefixes]
        # the longest matching prefix counts: Temporal_Pole_Sup before Temporal
        lookup[label] = max((len(prefix), row) for prefix, row in prefixes if name.startswith(prefix))[1]
    own = lookup[labels()]
    own[(own == ROWS["posterior cingulate"]) & (millimetres()[2] < ISTHMUS_BELOW_MM)] = ROWS["isthmus cingulate"]
    own[(own < 0) & pons()] = ROWS["pons"]
    return own


@cache
def measured() -> Mask:
    """The voxels used for regional means: labelled voxels with grey matter above 0.2, and the pons.

    The published regions are cortical ribbons, whereas AAL3 labels extend into white matter and sulci.
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
    """The reference region, whose mean SUVR is 1: cerebellum (measured voxels) and pons."""
    return np.asarray(measured() & np.isin(region_of_voxel(), [ROWS["cerebellum"], ROWS["pons"]]))


@cache
def pons() -> Mask:
    """The pons, which is not in AAL3: white matter in an ellipsoid, centre (0, -28, -35), half axes (15, 11, 13) mm.

    The ellipsoid covers the ventral pons and the tegmentum in the ICBM 2009 template.
    """
    return np.asarray((ellipsoid((0, -28, -35), (15, 11, 13)) < 1) & (tissue("white") > 0.3))


@cache
def brain_stem() -> Mask:
    """A generous mask of pons and medulla."""
    return np.asarray((ellipsoid((0, -30, -35), (18, 14, 16)) < 1) | (ellipsoid((0, -42, -58), (13, 13, 18)) < 1))


@cache
def deep_white() -> Mask:
    """White matter of the forebrain at least 4 mm away from other tissue."""
    white = (tissue("white") > 0.9) & ~brain_stem()
    return np.asarray(ndimage.binary_erosion(white, iterations=2), dtype=np.bool_)


@cache
def pure_grey() -> Mask:
    """Voxels that are mostly grey matter."""
    return np.asarray(tissue("grey") > 0.6)


@cache
def millimetres() -> tuple[Volume, Volume, Volume]:
    """The MNI coordinates of BASE, in mm, as three arrays that broadcast to its shape."""
    steps = [BASE.voxel_mm * np.arange(count, dtype=np.float32) for count in BASE.shape]
    x, y, z = np.ix_(*(np.float32(start) + step for start, step in zip(BASE.origin, steps, strict=True)))
    return x, y, z


def ellipsoid(centre: tuple[float, float, float], half_axes: tuple[float, float, float]) -> Volume:
    """The squared distance from the centre of an ellipsoid, relative to its half axes.

    Args:
        centre: MNI coordinates, in mm.
        half_axes: The half axes, in mm.

    Returns:
        (X, Y, Z) float32, below 1 inside the ellipsoid.
    """
    terms = [((m - c) / a) ** 2 for m, c, a in zip(millimetres(), centre, half_axes, strict=True)]
    return np.asarray(terms[0] + terms[1] + terms[2], dtype=np.float32)
