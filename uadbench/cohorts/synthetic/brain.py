"""A person of the phantom, and the properties of the person's brain, drawn independently of any scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from uadbench.cohorts.synthetic.ageing import LOBES, Ageing, draw_ageing
from uadbench.cohorts.synthetic.disease import VENTRICLES_PER_STAGE, WIDENING_PER_STAGE, Course, draw_course
from uadbench.cohorts.synthetic.fields import FINE, draw_nodes
from uadbench.cohorts.synthetic.incidental import Finding, draw_findings
from uadbench.cohorts.synthetic.maps import MEAN_WIDENING, NETWORKS, PARCELS, WIDENING_PER_DECADE
from uadbench.cohorts.synthetic.recipe import Recipe
from uadbench.runtime.files import keyed_seed

REFERENCE_AGE = 73.0
MOST_VENTRICLES = 4.5
"""The largest growth of ventricles, in mm. At this limit, single voxels near the septum can fold."""


@dataclass(frozen=True)
class Person:
    """The properties of a participant at a visit on which the image depends.

    Attributes:
        recipe: The phantom recipe.
        seed: The seed of the cohort.
        index: The number of the participant among those of the same kind.
        age: The age in years.
        sex: "F" or "M".
        site: The number of the site.
        kind: "healthy", "patient" (Alzheimer's disease), or "mild" (mild cognitive impairment).
        stage: The stage of a patient's disease, 0 to 1.
        ahead: How far the person's uptake is ahead of the person's age, in decades; atrophy follows the age alone.
    """

    recipe: Recipe
    seed: int
    index: int
    age: float
    sex: str
    site: int
    kind: str = "healthy"
    stage: float = 0.0
    ahead: float = 0.0

    @property
    def decades(self) -> float:
        """The age, in decades after REFERENCE_AGE."""
        return (self.age - REFERENCE_AGE) / 10

    def generator(self, *key: Any) -> np.random.Generator:
        """A random generator of this person; each draw has its own key."""
        version = str(self.recipe.version)
        return np.random.default_rng(keyed_seed("phantom", version, self.seed, self.kind, self.index, *key))


@dataclass(frozen=True)
class Brain:
    """The properties of a person's brain; standard normal unless stated otherwise.

    Attributes:
        shared: The uptake of the whole forebrain.
        leftward: The left-right asymmetry of uptake.
        networks: (8,) the uptake of each network, with unit variance.
        parcels: (3, PARCELS) the uptake of parcels, with unit variance: bilateral, left, right.
        paired: COARSE random numbers of a bilateral field of uptake.
        single: COARSE random numbers of a field of uptake without symmetry.
        thickness: COARSE random numbers of a field of cortical thinning.
        paired_shift: (3, *COARSE) random numbers of the symmetric displacement.
        single_shift: (3, *COARSE) random numbers of the remaining displacement.
        fold_shift: (2, 3, *FINE) random numbers of the displacement of single gyri, symmetric and not; None without it.
        axes: (3,) the stretch along each axis.
        widening: The loss of grey matter next to CSF.
        ventricles: The growth of ventricles, in mm.
        scalp: The SUVR of the scalp.
        unevenness: A factor of all local components of uptake.
        ageing: The subtype and stage of ageing; None without them.
        atrophy: (lobes,) factors of `widening`; None without them.
        findings: Incidental findings.
        course: The disease of a patient; None for a healthy person.
    """

    shared: float
    leftward: float
    networks: npt.NDArray[np.float32]
    parcels: npt.NDArray[np.float32]
    paired: npt.NDArray[np.float32]
    single: npt.NDArray[np.float32]
    thickness: npt.NDArray[np.float32]
    paired_shift: npt.NDArray[np.float32]
    single_shift: npt.NDArray[np.float32]
    fold_shift: npt.NDArray[np.float32] | None
    axes: npt.NDArray[np.float32]
    widening: float
    ventricles: float
    scalp: float
    unevenness: float
    ageing: Ageing | None
    atrophy: npt.NDArray[np.float32] | None
    findings: tuple[Finding, ...]
    course: Course | None


def draw_brain(person: Person) -> Brain:
    """Draw the brain of a person; sulci and ventricles are wider in older people and patients.

    Args:
        person: The person at a visit.

    Returns:
        The brain.
    """
    recipe, rng = person.recipe, person.generator("brain")
    decades = person.decades
    return Brain(
        shared=float(rng.standard_normal()),
        leftward=float(rng.standard_normal()),
        networks=_draw(rng, (len(NETWORKS),), recipe.tails),
        parcels=_draw(rng, (3, PARCELS), recipe.tails),
        paired=draw_nodes(rng),
        single=draw_nodes(rng),
        thickness=draw_nodes(rng),
        paired_shift=draw_nodes(rng, (3,)),
        single_shift=draw_nodes(rng, (3,)),
        axes=rng.standard_normal(3, dtype=np.float32),
        widening=max(0.0, MEAN_WIDENING + WIDENING_PER_DECADE * decades + 0.2 * float(rng.standard_normal()))
        + WIDENING_PER_STAGE * person.stage,
        ventricles=_ventricles(person, float(rng.standard_normal())),
        scalp=0.25 * float(np.exp(0.3 * rng.standard_normal())),
        fold_shift=draw_nodes(person.generator("folds"), (2, 3), FINE) if recipe.fold_shift else None,
        unevenness=_factor(person.generator("unevenness"), recipe.unevenness),
        ageing=draw_ageing(person.generator("ageing")) if recipe.ageing else None,
        atrophy=_atrophy(person) if recipe.atrophy else None,
        findings=_findings(person),
        course=draw_course(person.generator("disease")) if person.kind != "healthy" else None,
    )


def _draw(rng: np.random.Generator, shape: tuple[int, ...], tails: float | None) -> npt.NDArray[np.float32]:
    """Random numbers with unit variance: Gaussian, or of Student's t."""
    if tails is None:
        return rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(rng.standard_t(tails, shape) * np.sqrt(1 - 2 / tails), dtype=np.float32)


def _factor(rng: np.random.Generator, sd: float) -> float:
    """A log-normal factor with mean square 1; 1 for an SD of 0."""
    return float(np.exp(sd * rng.standard_normal() - sd**2)) if sd else 1.0


def _ventricles(person: Person, drawn: float) -> float:
    """The growth of ventricles, in mm: Gaussian in version 2, skewed from version 3 on."""
    if person.recipe.version == 2:
        return float(np.clip(0.7 + 0.6 * person.decades + 0.7 * drawn, -1, 3)) + VENTRICLES_PER_STAGE * person.stage
    grown = 1.6 * float(np.exp(0.35 * person.decades + 0.4 * drawn)) - 1.0
    return min(MOST_VENTRICLES, grown + VENTRICLES_PER_STAGE * person.stage)


def _atrophy(person: Person) -> npt.NDArray[np.float32]:
    """Log-normal factors of the loss of grey matter in each lobe, with mean 1."""
    sd = person.recipe.atrophy
    drawn = person.generator("atrophy").standard_normal(len(LOBES))
    return np.exp(sd * drawn - sd**2 / 2).astype(np.float32)


def _findings(person: Person) -> tuple[Finding, ...]:
    if not person.recipe.findings or person.kind != "healthy":
        return ()
    return draw_findings(person.generator("findings"), person.age)
