"""The phantom's participants: age, sex, site, sessions, MMSE, and the disease stage of patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from uadbench.cohorts.synthetic.disease import STAGE_PER_YEAR, draw_first_stage, expected_mmse
from uadbench.cohorts.synthetic.recipe import REVISION, Person
from uadbench.runtime.files import keyed_seed

SITES = 10
SESSIONS, SESSION_SHARES = (1, 2, 3, 4, 5), (0.30, 0.25, 0.25, 0.15, 0.05)
"""The number of sessions of a participant, and its distribution: 2.4 on average, as in the paper (733 scans of 301
participants)."""

FOLLOW_UPS = (12, 24, 36, 48, 60, 72)
"""The months of possible follow-up sessions."""

MMSE_NOISE, HEALTHY_MMSE_NOISE = 2.0, 1.0


class Visit(NamedTuple):
    """One row of the table of participants (see `base.COLUMNS`), and the person from which the scan is generated."""

    participant_id: str
    session_id: str
    group: str
    age: float
    sex: str
    site: str
    mmse: float
    person: Person


def healthy_visits(seed: int, index: int) -> Iterator[Visit]:
    """Generate the visits of a healthy participant, aged 55 to 90 at the first visit (mean 73, SD 7).

    Args:
        seed: The seed of the cohort.
        index: The participant, from 0.

    Yields:
        The visits, in order.
    """
    rng = _generator(seed, "healthy", index)
    age, sex, site = _demography(rng)
    for month in _months(rng):
        person = Person(seed, index, age + month / 12, sex, site)
        yield _visit(f"sub-P{index + 1:04d}", month, "CN", person, rng.normal(29.0, HEALTHY_MMSE_NOISE))


def patient_visits(seed: int, index: int) -> Iterator[Visit]:
    """Generate the visits of a patient, whose disease progresses between visits.

    Args:
        seed: The seed of the cohort.
        index: The patient, from 0.

    Yields:
        The visits, in order.
    """
    rng = _generator(seed, "patient", index)
    age, sex, site = _demography(rng)
    first = draw_first_stage(rng)
    for month in _months(rng):
        stage = min(1.0, first + STAGE_PER_YEAR * month / 12)
        person = Person(seed, index, age + month / 12, sex, site, "patient", stage)
        yield _visit(f"sub-Q{index + 1:04d}", month, "AD", person, rng.normal(expected_mmse(stage), MMSE_NOISE))


def _visit(participant: str, month: int, group: str, person: Person, mmse: float) -> Visit:
    score = float(np.clip(np.rint(mmse), 0, 30))
    age = round(person.age, 1)
    return Visit(participant, f"ses-M{month:03d}", group, age, person.sex, f"site-{person.site:02d}", score, person)


def _demography(rng: np.random.Generator) -> tuple[float, str, int]:
    age = rng.normal(73, 7)
    while not 55 <= age <= 90:
        age = rng.normal(73, 7)
    return round(float(age), 1), "FM"[rng.integers(2)], int(rng.integers(1, SITES + 1))


def _months(rng: np.random.Generator) -> list[int]:
    later = rng.choice(SESSIONS, p=SESSION_SHARES) - 1
    return [0, *sorted(rng.choice(FOLLOW_UPS, later, replace=False).tolist())]


def _generator(*key: Any) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("phantom", REVISION, "person", *key))
