"""The embedded cohort: brains that never lived, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from uadbench.cohorts.base import COLUMNS, keys_of
from uadbench.cohorts.synthetic.norms import BASE
from uadbench.errors import InputError
from uadbench.registry import register_cohort
from uadbench.runtime import files
from uadbench.types import Grid, Scan, Volume

if TYPE_CHECKING:
    from uadbench.cohorts.synthetic.people import Visit

DEFAULT_SEED, DEFAULT_PARTICIPANTS, DEFAULT_PATIENTS = 2023, 401, 80
_KNOWN = ("age", "sex", "site", "group", "mmse")


@register_cohort("phantom")
class Phantom:
    """FDG PET made on the spot from MNI templates: no download, no licence, nobody's scan.

    Everybody has 1 to 5 sessions, a year or more apart: the same brain, older, on another day.
    Scans are made at 2 mm on `norms.BASE` and sampled on the grid that is asked for, so that a 2 mm grid
    inside it is plain decimation of the cohort's CAPS export.

    Args:
        seed: Draws other people.
        participants: How many healthy ones (sub-P0001 ...); participant k is the same person whatever the number.
        patients: How many with Alzheimer's disease (sub-Q0001 ..., group "AD"), by a process of its own
            (`synthetic.disease`) and not by the simulator of the test sets.
    """

    public = True

    def __init__(
        self, seed: int = DEFAULT_SEED, participants: int = DEFAULT_PARTICIPANTS, patients: int = DEFAULT_PATIENTS
    ) -> None:
        from uadbench.cohorts.synthetic.people import healthy_visits, patient_visits
        from uadbench.cohorts.synthetic.recipe import REVISION

        options = {
            "seed": (seed, DEFAULT_SEED),
            "participants": (participants, DEFAULT_PARTICIPANTS),
            "patients": (patients, DEFAULT_PATIENTS),
        }
        for name, least in (("participants", 1), ("patients", 0)):
            if not least <= options[name][0] <= 9999:
                raise InputError(f"phantom: {name}={options[name][0]}; choose {least} to 9999")
        chosen = ",".join(f"{name}={value}" for name, (value, usual) in options.items() if value != usual)
        self.name = f"phantom:{chosen}" if chosen else "phantom"
        self.version = REVISION
        self.seed = seed
        visits = [visit for index in range(participants) for visit in healthy_visits(seed, index)]
        visits += [visit for index in range(patients) for visit in patient_visits(seed, index)]
        table = pd.DataFrame([visit[:-1] for visit in visits], columns=list(visits[0]._fields[:-1]))
        self.participants = table.assign(scanner="", amyloid="")[list(COLUMNS)]
        self._visits = {(visit.participant_id, visit.session_id): visit for visit in visits}

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """Of each row recipe, seed and who it is; the image follows from these."""
        return [files.content_hash("phantom", self.version, self.seed, *key) for key in keys_of(rows)]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Make the scans of these rows, as many side by side as torch has threads (about 0.1 s each and thread).

        `Scan.extent` is the range on the base lattice.

        Raises:
            InputError: For a row that is no scan of this cohort.
        """
        from uadbench.cohorts.synthetic.recipe import render
        from uadbench.runtime.threads import SideBySide

        visits = [self._visit(*key) for key in keys_of(rows)]

        def make(visit: Visit) -> Scan:
            image = render(visit.person, visit.session_id)
            extent = float(image.min()), float(image.max())
            known = {name: getattr(visit, name) for name in _KNOWN}
            data = _sample(image, BASE, grid)
            return Scan(visit.participant_id, visit.session_id, data, grid.affine, extent, **known)

        yield from SideBySide().each(make, visits)

    def regional_values(self, count: int) -> Iterator[tuple[float, str, Sequence[float]]]:
        """Age, sex and regional SUVR (in the order of `norms.REGIONS`) of healthy participants, without images.

        For questions that take more people than one wants images of; `count` may exceed the cohort's participants.
        """
        from uadbench.cohorts.synthetic.people import healthy_visits
        from uadbench.cohorts.synthetic.recipe import regional_values
        from uadbench.runtime.threads import SideBySide

        def measure(index: int) -> tuple[float, str, Sequence[float]]:
            visit = next(healthy_visits(self.seed, index))
            return visit.age, visit.sex, regional_values(visit.person, visit.session_id)

        yield from SideBySide().each(measure, range(count))

    def _visit(self, participant: str, session: str) -> Visit:
        if (participant, session) not in self._visits:
            names = self.participants["participant_id"]
            known = f"its participants are {names.iloc[0]} to {names.iloc[-1]}, and `participants` lists their sessions"
            raise InputError(f"{self.name}: has no scan {participant}_{session}; {known}")
        return self._visits[participant, session]


def _sample(image: Volume, base: Grid, grid: Grid) -> Volume:
    """What `atlas.resample` gives, axis by axis: both lattices have the same axes, and a scan is sampled often."""
    for axis in range(3):
        steps = grid.voxel_mm * np.arange(grid.shape[axis]) + grid.origin[axis] - base.origin[axis]
        position = np.round(steps / base.voxel_mm, 9)
        low = np.clip(np.floor(position).astype(np.int64), 0, base.shape[axis] - 1)
        column = [-1 if k == axis else 1 for k in range(3)]
        share = (position - low).astype(np.float32).reshape(column)
        inside = ((position >= 0) & (position <= base.shape[axis] - 1)).reshape(column)
        here = image.take(low, axis)
        if share.any():  # else the centres coincide: plain decimation
            there = image.take(np.minimum(low + 1, base.shape[axis] - 1), axis)
            here += (there - here) * share
        image = here if inside.all() else here * inside
    return image
