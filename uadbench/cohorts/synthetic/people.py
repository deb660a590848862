"""The phantom's participants: age, sex, site, sessions, MMSE, and the disease stage of patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from uadbench.cohorts.synthetic.brain import Person
from uadbench.cohorts.synthetic.disease import STAGE_PER_YEAR, draw_first_stage, draw_mild_stage, expected_mmse
from uadbench.cohorts.synthetic.recipe import Recipe
from uadbench.runtime.files import keyed_seed

SITES = 10
SESSIONS, SESSION_SHARES = (1, 2, 3, 4, 5), (0.30, 0.25, 0.25, 0.15, 0.05)
"""The number of sessions of a participant, and its distribution: 2.4 on average, as in the paper (733 scans of 301
participants)."""

FOLLOW_UPS = (12, 24, 36, 48, 60, 72)
"""The months of possible follow-up sessions."""

MMSE_NOISE, HEALTHY_MMSE_NOISE, MILD_MMSE_NOISE = 2.0, 1.0, 1.5

AMYLOID_POSITIVE = 0.6
"""The share of patients with mild cognitive impairment who are amyloid-positive. Most series report 50 to 70 % (Jansen
et al. 2015, JAMA 313:1924, give 27 to 71 % by age)."""

MOST_AHEAD = 1.5
"""How far uptake in amyloid-negative patients is ahead of their age at most, in decades."""

NEGATIVE_MMSE = 27.5
"""The expected MMSE of amyloid-negative patients with mild cognitive impairment."""


class Visit(NamedTuple):
    """One row of the table of participants (see `base.COLUMNS`), and the person from which the scan is generated."""

    participant_id: str
    session_id: str
    group: str
    age: float
    sex: str
    site: str
    mmse: float
    amyloid: str
    person: Person


def healthy_visits(recipe: Recipe, seed: int, index: int) -> Iterator[Visit]:
    """Generate the visits of a healthy participant, aged 55 to 90 at the first visit (mean 73, SD 7).

    Args:
        recipe: The phantom recipe.
        seed: The seed of the cohort.
        index: The participant, from 0.

    Yields:
        The visits, in order.
    """
    rng = _generator(recipe, seed, "healthy", index)
    age, sex, site = _demography(rng)
    for month in _months(rng):
        person = Person(recipe, seed, index, age + month / 12, sex, site)
        yield _visit(f"sub-P{index + 1:04d}", month, "CN", person, rng.normal(29.0, HEALTHY_MMSE_NOISE))


def patient_visits(recipe: Recipe, seed: int, index: int) -> Iterator[Visit]:
    """Generate the visits of a patient with Alzheimer's disease, which progresses between visits.

    Args:
        recipe: The phantom recipe.
        seed: The seed of the cohort.
        index: The patient, from 0.

    Yields:
        The visits, in order.
    """
    rng = _generator(recipe, seed, "patient", index)
    age, sex, site = _demography(rng)
    first = draw_first_stage(rng)
    amyloid = "positive" if recipe.mild_patients else ""
    for month in _months(rng):
        stage = min(1.0, first + STAGE_PER_YEAR * month / 12)
        person = Person(recipe, seed, index, age + month / 12, sex, site, "patient", stage)
        mmse = rng.normal(expected_mmse(stage), MMSE_NOISE)
        yield _visit(f"sub-Q{index + 1:04d}", month, "AD", person, mmse, amyloid)


def mild_visits(recipe: Recipe, seed: int, index: int) -> Iterator[Visit]:
    """Generate the visits of a patient with mild cognitive impairment.

    Amyloid-positive patients have an early stage of Alzheimer's disease. The uptake of amyloid-negative patients is
    ahead of their age instead.

    Args:
        recipe: The phantom recipe.
        seed: The seed of the cohort.
        index: The patient, from 0.

    Yields:
        The visits, in order.
    """
    rng = _generator(recipe, seed, "mild", index)
    age, sex, site = _demography(rng)
    positive = bool(rng.uniform() < AMYLOID_POSITIVE)
    first, ahead = draw_mild_stage(rng), float(rng.uniform(0, MOST_AHEAD))
    for month in _months(rng):
        later = age + month / 12
        if positive:
            stage = min(1.0, first + STAGE_PER_YEAR / 2 * month / 12)
            person = Person(recipe, seed, index, later, sex, site, "mild", stage)
            mmse, amyloid = expected_mmse(stage), "positive"
        else:
            person = Person(recipe, seed, index, later, sex, site, "mild", ahead=ahead)
            mmse, amyloid = NEGATIVE_MMSE, "negative"
        yield _visit(f"sub-R{index + 1:04d}", month, "MCI", person, rng.normal(mmse, MILD_MMSE_NOISE), amyloid)


def _visit(participant: str, month: int, group: str, person: Person, mmse: float, amyloid: str = "") -> Visit:
    session, site = f"ses-M{month:03d}", f"site-{person.site:02d}"
    score = float(np.clip(np.rint(mmse), 0, 30))
    return Visit(participant, session, group, round(person.age, 1), person.sex, site, score, amyloid, person)


def _demography(rng: np.random.Generator) -> tuple[float, str, int]:
    age = rng.normal(73, 7)
    while not 55 <= age <= 90:
        age = rng.normal(73, 7)
    return round(float(age), 1), "FM"[rng.integers(2)], int(rng.integers(1, SITES + 1))


def _months(rng: np.random.Generator) -> list[int]:
    later = rng.choice(SESSIONS, p=SESSION_SHARES) - 1
    return [0, *sorted(rng.choice(FOLLOW_UPS, later, replace=False).tolist())]


def _generator(recipe: Recipe, *key: Any) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("phantom", str(recipe.version), "person", *key))
