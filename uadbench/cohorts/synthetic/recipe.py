"""The phantom recipes: how large each source of variation between people and scans is.

A recipe is frozen: the same participant of the same recipe always has the same image. Version 2 is close to a linear,
Gaussian world, in which a linear filter is nearly the best detector of lesions. Version 3 differs in what is not
linear: anatomy as affine registration leaves it, ageing by subtype and stage, heavy tails, and incidental findings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The size of each source of variation; SDs unless stated otherwise.

    Components of relative uptake apply where the published regional SD is 8 %; elsewhere they are scaled in proportion
    (those without symmetry only where it is below 8 %).

    Attributes:
        version: The version, which is part of every seed.
        shared: Uptake of the whole forebrain.
        network: Uptake of each network.
        paired: A bilateral field of uptake.
        parcel_paired: The uptake of bilateral parcels.
        single: A field of uptake without symmetry.
        parcel_single: The uptake of parcels on one side.
        leftward: The left-right asymmetry.
        state: Changes between sessions of a person, in the whole forebrain and in each network.
        sex: The difference between women and men in relative forebrain uptake.
        noise: Noise in a voxel.
        shading: Shading over 70 mm.
        stretch: The stretch along each axis.
        thickness: The local loss of cortical thickness, in the unit of `Brain.widening`.
        paired_shift: The symmetric part of the displacement, in mm per axis.
        single_shift: The remaining coarse displacement, in mm per axis.
        central_shift: The coarse displacement in the centre of the brain, relative to that at the surface.
        along_surface: The share of the displacement across the outer surface that registration removes there.
        fold_shift: The symmetric part of the displacement of single gyri along the surface, in mm per axis.
        fold_single: The remaining displacement of single gyri, in mm per axis.
        mean_blur: The FWHM of the blur in an average over participants, in mm: 8 mm of the scanner, and anatomy.
        tails: The degrees of freedom of Student's t, from which networks and parcels are drawn; None for a Gaussian.
        unevenness: The SD of the logarithm of a factor of all local components of a person.
        ageing: The loss of relative uptake per unit of stage in `ageing`; 0 without subtypes.
        atrophy: The SD of the logarithm of a factor of the loss of grey matter in each lobe.
        findings: Whether some older healthy people have incidental findings.
        mild_patients: Whether there is a group of patients with mild cognitive impairment.
        spread_gain: Factors of regional SDs before the blur, which compensate for the influence of anatomy and
            neighbouring regions.
    """

    version: int
    shared: float
    network: float
    paired: float
    parcel_paired: float
    single: float
    parcel_single: float
    leftward: float
    state: float
    sex: float
    noise: float
    shading: float
    stretch: float
    thickness: float
    paired_shift: float
    single_shift: float
    central_shift: float
    along_surface: float
    fold_shift: float
    fold_single: float
    mean_blur: float
    tails: float | None
    unevenness: float
    ageing: float
    atrophy: float
    findings: bool
    mild_patients: bool
    spread_gain: tuple[tuple[str, float], ...]


RECIPES = {
    2: Recipe(
        version=2,
        shared=0.050,
        network=0.048,
        paired=0.040,
        parcel_paired=0.080,
        single=0.015,
        parcel_single=0.013,
        leftward=0.014,
        state=0.008,
        sex=0.01,
        noise=0.026,
        shading=0.008,
        stretch=0.02,
        thickness=0.15,
        paired_shift=1.0,
        single_shift=0.2,
        central_shift=1.0,
        along_surface=0.0,
        fold_shift=0.0,
        fold_single=0.0,
        mean_blur=9.5,
        tails=None,
        unevenness=0.0,
        ageing=0.0,
        atrophy=0.0,
        findings=False,
        mild_patients=False,
        spread_gain=(
            ("posterior cingulate", 0.9),
            ("isthmus cingulate", 0.8),
            ("mesial temporal", 1.2),
            ("lateral temporal", 1.1),
        ),
    ),
    3: Recipe(
        version=3,
        shared=0.030,
        network=0.034,
        paired=0.022,
        parcel_paired=0.055,
        single=0.012,
        parcel_single=0.013,
        leftward=0.011,
        state=0.008,
        sex=0.01,
        noise=0.026,
        shading=0.008,
        stretch=0.012,
        thickness=0.12,
        paired_shift=2.0,
        single_shift=0.1,
        central_shift=0.4,
        along_surface=0.9,
        fold_shift=2.1,
        fold_single=0.2,
        mean_blur=10.0,
        tails=5.0,
        unevenness=0.4,
        ageing=0.14,
        atrophy=0.4,
        findings=True,
        mild_patients=True,
        spread_gain=(
            ("posterior cingulate", 0.9),
            ("isthmus cingulate", 0.5),
            ("mesial temporal", 2.4),
            ("lateral temporal", 1.1),
            ("lateral occipital", 1.25),
            ("insula", 1.35),
        ),
    ),
}
"""All recipes by version."""

CURRENT = 3
"""The version of the recipe of the cohort `phantom`."""
