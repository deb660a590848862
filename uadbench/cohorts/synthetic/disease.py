"""Alzheimer's disease in the phantom's patients, simulated independently of the test sets.

In the test sets, uptake is reduced by one factor within a mask of AAL3 regions. Here, hypometabolism spreads gradually
from sites in MNI coordinates that do not depend on AAL3. Onset, depth and extent of each site vary between patients,
and hypometabolism is asymmetric and accompanied by atrophy. A model that was tuned to the test sets is thus evaluated
on a different disease.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic.fields import coordinates, draw_nodes, grow
from uadbench.cohorts.synthetic.norms import BASE


@dataclass(frozen=True)
class Site:
    """A site of hypometabolism, with a Gaussian profile, on both sides of the brain.

    Attributes:
        centre: MNI (|x|, y, z), in mm.
        extent: The SD of the Gaussian, in mm.
        onset: The stage of the disease at which uptake starts to decrease.
        depth: The reduction of uptake at stage 1.
    """

    centre: tuple[float, float, float]
    extent: float
    onset: float
    depth: float


# Order and location of sites: posterior cingulate and precuneus first, then angular and temporal cortex, frontal cortex
# late; sensorimotor, visual and cerebellar cortex are spared (Minoshima 1997, Ann Neurol 42:85; Herholz 2002,
# NeuroImage 17:302; Landau 2011, Neurobiol Aging 32:1207). Extents, onsets and depths were chosen so that uptake in the
# meta-region decreases as in mild Alzheimer's dementia.
SITES = (
    Site((6, -48, 28), 11, 0.00, 0.66),  # posterior cingulate
    Site((6, -64, 40), 14, 0.00, 0.62),  # precuneus
    Site((46, -62, 36), 15, 0.05, 0.68),  # angular
    Site((54, -44, 40), 12, 0.15, 0.50),  # supramarginal
    Site((58, -40, -8), 14, 0.10, 0.62),  # middle temporal
    Site((54, -32, -22), 14, 0.10, 0.62),  # inferior temporal
    Site((26, -18, -18), 10, 0.00, 0.35),  # hippocampus, parahippocampal
    Site((44, 8, -30), 14, 0.30, 0.45),  # temporal pole
    Site((42, 26, 36), 16, 0.40, 0.45),  # middle frontal
    Site((8, 40, 30), 16, 0.50, 0.40),  # medial frontal
)
PATCHY = 0.25
"""The SD of the relative depth across locations within a patient (a smooth field)."""

STAGE_PER_YEAR = 0.10
WIDENING_PER_STAGE, VENTRICLES_PER_STAGE = 0.5, 1.2
"""Atrophy at stage 1: the increase in the loss of grey matter next to CSF, and in the growth of ventricles, in mm."""


@dataclass(frozen=True)
class Course:
    """A patient's deviations from the average disease, which are the same at all visits.

    Attributes:
        depths: (sites,) factors of the depths.
        extents: (sites,) factors of the extents.
        shifts: (sites, 3) shifts of the centres, in mm.
        leftward: The left-right asymmetry, -1 to 1; positive if the left side is more affected.
        nodes: NODES random numbers of the smooth field of relative depth.
    """

    depths: npt.NDArray[np.float64]
    extents: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]
    leftward: float
    nodes: npt.NDArray[np.float32]


def draw_course(rng: np.random.Generator) -> Course:
    """Draw the disease of a patient.

    Args:
        rng: The random generator.

    Returns:
        The deviations from the average disease.
    """
    count = len(SITES)
    overall = 0.12 * rng.standard_normal()
    return Course(
        depths=np.exp(0.25 * rng.standard_normal(count)),
        extents=np.exp(overall + 0.12 * rng.standard_normal(count)),
        shifts=rng.normal(0, 4, (count, 3)),
        leftward=float(np.clip(rng.normal(0, 0.25), -0.7, 0.7)),
        nodes=draw_nodes(rng),
    )


def draw_first_stage(rng: np.random.Generator) -> float:
    """Draw the stage at the first visit.

    Args:
        rng: The random generator.

    Returns:
        The stage, 0.25 to 0.9 (mild to moderate dementia).
    """
    return float(0.25 + 0.65 * rng.beta(1.6, 2.2))


def draw_mild_stage(rng: np.random.Generator) -> float:
    """Draw the stage at the first visit of an amyloid-positive patient with mild cognitive impairment.

    Args:
        rng: The random generator.

    Returns:
        The stage, 0.05 to 0.25.
    """
    return float(rng.uniform(0.05, 0.25))


def expected_mmse(stage: float) -> float:
    """The expected score of the Mini-Mental State Examination.

    Args:
        stage: The stage, 0 to 1.

    Returns:
        The score, 0 to 30, without noise.
    """
    return 29.0 - 13.0 * stage


def lost_uptake(course: Course, stage: float) -> torch.Tensor:
    """The reduction of uptake by the disease.

    Args:
        course: The disease of the patient.
        stage: The stage, 0 to 1.

    Returns:
        (X, Y, Z) float32, the reduction as a fraction, 0 to 0.85.
    """
    x, y, z = coordinates()
    kept = torch.ones(BASE.shape)
    for site, depth, extent, shift in zip(SITES, course.depths, course.extents, course.shifts, strict=True):
        reached = float(np.clip((stage - site.onset) / (1 - site.onset), 0, 1))
        width = site.extent * extent
        for side in (-1, 1):
            a, b, c = np.array(site.centre) * (side, 1, 1) + shift * (side, 1, 1)
            near = ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2).mul_(-0.5 / width**2).exp_()
            weight = depth * site.depth * reached * (1 - side * course.leftward)
            kept.mul_(1 - near.mul_(min(float(weight), 0.8)))
    lost = 1 - kept
    return lost.mul_(grow(course.nodes).mul_(PATCHY).add_(1)).clamp_(0, 0.85)
