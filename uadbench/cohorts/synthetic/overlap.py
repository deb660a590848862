"""The overlap of gyral labels between people, as a measure of how much anatomy varies after registration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.brain import Person, draw_brain
from uadbench.cohorts.synthetic.maps import maps
from uadbench.cohorts.synthetic.norms import BASE
from uadbench.cohorts.synthetic.render import sampling_points
from uadbench.space import atlas

DEEP = ("Thal", "Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala", "N_Acc", "Olfactory")
STEM = ("Cerebellum", "Vermis", "VTA", "SN", "Red_N", "LC", "Raphe")


def target_overlap(people: Sequence[Person]) -> float:
    """The target overlap of the labels of cortical gyri (Klein et al. 2009, NeuroImage 46:786).

    It is the share of the labelled grey matter of one person that has the same label in another person, over all
    ordered pairs.

    Args:
        people: At least two people.

    Returns:
        The overlap, 0 to 1.
    """
    labelled = [_labels_of(person) for person in people]
    same = [((a == b) & (a > 0)).sum() / (b > 0).sum() for a in labelled for b in labelled if a is not b]
    return float(np.mean(same))


def _labels_of(person: Person) -> npt.NDArray[np.uint8]:
    """The label of each voxel of a person's brain, 0 outside gyri, (X, Y, Z) uint8."""
    gyri = [label for name, label in atlas.region_ids().items() if not name.startswith(DEEP + STEM)]
    average = np.where(np.isin(norms.labels(), gyri) & (norms.tissue("grey") > 0.3), norms.labels(), 0)
    points = sampling_points(person, draw_brain(person), maps(person.recipe)).numpy()
    steps = np.rint((points - np.array(BASE.origin)) / BASE.voxel_mm).astype(np.int64)
    inside = np.clip(steps, 0, np.array(BASE.shape) - 1)
    return np.asarray(average[tuple(np.moveaxis(inside, -1, 0))])
