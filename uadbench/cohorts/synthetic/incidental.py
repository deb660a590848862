"""Incidental findings in healthy older people: old infarcts, most of them small and deep.

In population studies, 8 to 28 % of people have silent brain infarcts, more with age (Vermeer et al. 2007, Lancet Neurol
6:611); most studies report 10 to 20 % (Fanning et al. 2014, BMC Med 12:119). Cohorts of cognitively normal people
exclude the larger ones, so fewer people have them here, and cortical infarcts are rare. The shares were chosen by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.norms import BASE

YOUNGEST, PER_YEAR, LARGEST_SHARE = 58.0, 0.006, 0.20
"""The share of people with a finding grows by PER_YEAR from age YOUNGEST on: 4 % at 65, 13 % at 80."""

SECOND = 0.25
"""The share of people with a finding who have a second one."""

CORTICAL = 0.15
"""The share of findings in the cortex; the others lie in basal ganglia, thalamus and white matter."""

DEEP_MM, CORTICAL_MM = (3.0, 15.0), (10.0, 22.0)
"""The range of diameters before the axes vary (SD 20 %): lacunes measure 3 to 15 mm (Wardlaw et al. 2013, Lancet Neurol
12:822); cortical infarcts of the size that a cohort of normal people contains were chosen by us."""

LOST = (0.6, 0.95)
"""The range of the reduction of uptake at the centre, before the blur."""


@dataclass(frozen=True)
class Finding:
    """An old infarct.

    Attributes:
        centre: MNI (x, y, z) in mm, in the average anatomy.
        half_axes: The half axes, in mm.
        lost: The reduction of uptake, 0 to 1.
    """

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    lost: float


def draw_findings(rng: np.random.Generator, age: float) -> tuple[Finding, ...]:
    """Draw the incidental findings of a healthy person; once there, they stay.

    Args:
        rng: The random generator, the same at all visits.
        age: The age in years.

    Returns:
        The findings, for most people none.
    """
    has, has_second = rng.uniform(size=2)
    share = min(LARGEST_SHARE, max(0.0, PER_YEAR * (age - YOUNGEST)))
    drawn = tuple(_draw(rng) for _ in range(2))
    if has >= share:
        return ()
    return drawn if has_second < SECOND else drawn[:1]


def _draw(rng: np.random.Generator) -> Finding:
    cortical = rng.uniform() < CORTICAL
    places = _places()[int(cortical)]
    centre = places[int(rng.integers(len(places)))] + rng.uniform(-1, 1, 3)
    low, high = CORTICAL_MM if cortical else DEEP_MM
    diameter = np.exp(rng.uniform(np.log(low), np.log(high)))
    axes = diameter / 2 * np.exp(0.2 * rng.standard_normal(3))
    return Finding(tuple(centre.tolist()), tuple(axes.tolist()), float(rng.uniform(*LOST)))


@cache
def _places() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """MNI coordinates, (voxels, 3): deep grey and white matter, and cortex outside the cerebellum."""
    own = norms.region_of_voxel()
    deep_grey = np.isin(own, [norms.ROWS[name] for name in ("putamen", "pallidum", "caudate", "thalamus")])
    hind = np.isin(own, [norms.ROWS[name] for name in ("cerebellum", "pons", "midbrain")])
    cortex = (own >= 0) & ~deep_grey & ~hind & norms.pure_grey()
    deep, outer = (
        np.asarray(np.argwhere(mask) * BASE.voxel_mm + np.array(BASE.origin))
        for mask in (deep_grey | norms.deep_white(), cortex)
    )
    return deep, outer


def kept_uptake(findings: tuple[Finding, ...]) -> torch.Tensor:
    """The uptake that findings leave.

    Args:
        findings: The findings, at least one.

    Returns:
        (X, Y, Z) float32, the share of uptake that is left, 0 to 1.
    """
    kept = torch.ones(BASE.shape)
    for finding in findings:
        distance = torch.from_numpy(norms.ellipsoid(finding.centre, finding.half_axes))
        edge = distance.sqrt().sub_(1).mul_(min(finding.half_axes) / BASE.voxel_mm)  # in voxels beyond the surface
        kept.mul_(1 - finding.lost * (0.5 - edge).clamp_(0, 1))
    return kept
