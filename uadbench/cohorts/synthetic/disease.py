"""Alzheimer's disease in the phantom's patients: a process of its own, apart from the test sets' simulator.

The test sets lower uptake by one factor inside a mask of AAL3 regions. Here hypometabolism spreads from sites
given in millimetres, graded, each with its own onset, depth and extent in every patient, more on one side than
on the other, with atrophy; it knows nothing of AAL3. A model that was tuned to the simulator meets another disease.
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
    """Where uptake falls: MNI (|x|, y, z) in mm, on both sides; a Gaussian of SD `extent` mm.

    It begins when the disease reaches stage `onset` and lowers uptake by `depth` at stage 1.
    """

    place: tuple[float, float, float]
    extent: float
    onset: float
    depth: float


# Order of appearance and places: posterior cingulate and precuneus first, then angular and temporal cortex, frontal
# cortex late; sensorimotor, visual and cerebellar cortex spared (Minoshima 1997, Ann Neurol 42:85; Herholz 2002,
# NeuroImage 17:302; Landau 2011, Neurobiol Aging 32:1207). Extents, onsets and depths are ours, set so that the
# meta-region falls as much as in mild Alzheimer's dementia.
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
"""SD of the relative depth from place to place within a patient (a smooth field)."""

STAGE_PER_YEAR = 0.10
WIDENING_PER_STAGE, VENTRICLES_PER_STAGE = 0.5, 1.2
"""Atrophy: what stage 1 adds to the loss of grey matter beside fluid and to the ventricles' growth in mm."""


@dataclass(frozen=True)
class Course:
    """One patient's disease, the same at every visit: what differs from the average course.

    `depths` and `extents` (sites,) are factors; `shifts` (sites, 3) mm; `leftward` in -1..1 is how much more the
    left side suffers; `nodes` is a field's.
    """

    depths: npt.NDArray[np.float64]
    extents: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]
    leftward: float
    nodes: npt.NDArray[np.float32]


def draw_course(rng: np.random.Generator) -> Course:
    """Draw a patient's course."""
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
    """Stage at the first visit: mild to moderate dementia, 0.25 to 0.9."""
    return float(0.25 + 0.65 * rng.beta(1.6, 2.2))


def expected_mmse(stage: float) -> float:
    """Mini-Mental State Examination (0 to 30) that a stage goes with, before its noise."""
    return 29.0 - 13.0 * stage


def lost_uptake(course: Course, stage: float) -> torch.Tensor:
    """The fraction of uptake that the disease takes away at a stage, (X, Y, Z) float32 in 0..0.85."""
    x, y, z = coordinates()
    kept = torch.ones(BASE.shape)
    for site, depth, extent, shift in zip(SITES, course.depths, course.extents, course.shifts, strict=True):
        reached = float(np.clip((stage - site.onset) / (1 - site.onset), 0, 1))
        width = site.extent * extent
        for side in (-1, 1):
            a, b, c = np.array(site.place) * (side, 1, 1) + shift * (side, 1, 1)
            near = ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2).mul_(-0.5 / width**2).exp_()
            weight = depth * site.depth * reached * (1 - side * course.leftward)
            kept.mul_(1 - near.mul_(min(float(weight), 0.8)))
    lost = 1 - kept
    return lost.mul_(grow(course.nodes).mul_(PATCHY).add_(1)).clamp_(0, 0.85)
