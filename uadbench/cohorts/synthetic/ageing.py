"""Healthy ageing by subtype and stage: lobes lose uptake one after another, in an order that differs between people.

People of one subtype share the order in which lobes are affected; the stage says how far they have come, as in
SuStaIn (Young et al. 2018, Nat Commun 9:4273). A lobe that is affected late therefore depends on the others in a way
that no linear model describes, and the stage is skewed. Subtypes, onsets and amounts were chosen by us: no published
figures exist for FDG PET of healthy people. The mean over people of the same age is subtracted, so that regional means
and their change with age remain those of `norms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

LOBES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "frontal": ((36, 38, 18), (8, 52, 12), (24, 22, 46), (26, 36, -14)),
    "cingulate": ((6, -50, 30), (6, -60, 48), (6, 10, 36)),
    "parietal": ((46, -56, 42), (40, -40, 54), (28, -66, 52)),
    "temporal": ((56, -28, -10), (44, 4, -30), (28, -18, -20), (50, -52, -14)),
    "occipital": ((30, -84, 6), (10, -82, 8), (18, -68, -8)),
}
"""Centres of the lobes: MNI (|x|, y, z) in mm, mirrored to both sides; a voxel belongs to the nearest ones."""

SUBTYPES: dict[str, tuple[float, tuple[float, ...]]] = {
    "frontal": (0.40, (0.0, 0.9, 1.6, 1.3, 2.4)),
    "parietal": (0.30, (1.3, 0.0, 0.3, 1.6, 1.0)),
    "temporal": (0.15, (1.2, 1.0, 1.8, 0.0, 2.2)),
    "occipital": (0.15, (2.0, 0.9, 0.7, 1.5, 0.0)),
}
"""The share of each subtype, and the stage at which each of LOBES starts to lose uptake."""

SHAPE, MEAN_STAGE, LOG_PER_DECADE = 1.2, 1.2, 0.2
"""The stage has a gamma distribution with this shape, and with this mean at 73 years; its logarithm grows with age."""

LONGEST = 1.0
"""The stages after its onset at which a lobe has lost all that it loses."""

UNEVEN = 0.12
"""The SD of the left-right difference of the loss, relative to the loss."""


@dataclass(frozen=True)
class Ageing:
    """How a person ages.

    Attributes:
        subtype: The name of the subtype.
        quantile: The quantile of the stage among people of the same age, 0 to 1.
        leftward: The left-right asymmetry of the loss; positive if the left side loses more.
    """

    subtype: str
    quantile: float
    leftward: float


def draw_ageing(rng: np.random.Generator) -> Ageing:
    """Draw how a person ages.

    Args:
        rng: The random generator.

    Returns:
        The subtype, the quantile of the stage, and the asymmetry.
    """
    shares = [share for share, _ in SUBTYPES.values()]
    return Ageing(
        subtype=list(SUBTYPES)[int(rng.choice(len(shares), p=shares))],
        quantile=float(rng.uniform()),
        leftward=float(np.clip(UNEVEN * rng.standard_normal(), -0.7, 0.7)),
    )


def losses(ageing: Ageing, decades: float, ahead: float = 0.0) -> npt.NDArray[np.float64]:
    """The loss of each lobe beyond the mean of healthy people of the same age.

    Args:
        ageing: How the person ages.
        decades: The age, in decades after 73 years.
        ahead: How far the person's uptake is ahead of the person's age, in decades.

    Returns:
        (lobes,), in the unit of `Recipe.ageing`.
    """
    quantile = np.clip(ageing.quantile, 1e-4, 1 - 1e-4)
    stage = float(stats.gamma.ppf(quantile, SHAPE)) / SHAPE * _mean_stage(decades + ahead)
    return np.asarray(_reached(stage, SUBTYPES[ageing.subtype][1]) - _expected(decades))


def _mean_stage(decades: float) -> float:
    return MEAN_STAGE * float(np.exp(LOG_PER_DECADE * decades))


def _reached(stage: npt.ArrayLike, onsets: tuple[float, ...]) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip(np.subtract.outer(np.asarray(stage), np.array(onsets)), 0, LONGEST))


def _expected(decades: float) -> npt.NDArray[np.float64]:
    """The mean loss of each lobe at an age, over subtypes and stages."""
    stages = _quantiles() * _mean_stage(decades)
    return np.asarray(sum(share * _reached(stages, onsets).mean(axis=0) for share, onsets in SUBTYPES.values()))


@cache
def _quantiles() -> npt.NDArray[np.float64]:
    """Stages at the midpoints of 200 equal parts of the distribution with mean 1."""
    return np.asarray(stats.gamma.ppf((np.arange(200) + 0.5) / 200, SHAPE) / SHAPE)
