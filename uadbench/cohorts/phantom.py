"""The cohort plugin `phantom`: synthetic FDG PET scans, which are generated identically on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from uadbench.cohorts.base import COLUMNS, keys_of
from uadbench.cohorts.synthetic.norms import BASE
from uadbench.cohorts.synthetic.recipe import CURRENT, RECIPES
from uadbench.errors import InputError
from uadbench.registry import register_cohort
from uadbench.runtime import files
from uadbench.types import Grid, Scan, Volume

if TYPE_CHECKING:
    from uadbench.cohorts.synthetic.people import Visit

DEFAULT_SEED, DEFAULT_PARTICIPANTS, DEFAULT_PATIENTS = 2023, 701, 80
EARLIER_PARTICIPANTS = 401
"""The default number of healthy participants of recipe 2."""

_PROPERTIES = ("age", "sex", "site", "amyloid", "group", "mmse")


@register_cohort("phantom")
class Phantom:
    """Synthetic FDG PET, generated from MNI templates: no download, no licence, no data of real people.

    Each participant has 1 to 5 sessions, at least a year apart. Scans are generated at 2 mm on the grid `norms.BASE`
    and resampled to the requested grid. A 2 mm grid within it therefore contains every second voxel of the cohort's
    CAPS export.

    Args:
        seed: The seed; another seed gives other participants.
        participants: The number of healthy participants (sub-P0001, ...; by default 701, in recipe 2 401).
            Participant k does not depend on the number.
        patients: The number of patients in each group: Alzheimer's disease (sub-Q0001, ..., group "AD") and mild
            cognitive impairment (sub-R0001, ..., group "MCI"; not in recipe 2). The disease is simulated by
            `synthetic.disease`, which is independent of the simulation of the test sets.
        recipe: The version of the phantom recipe (see `synthetic.recipe`): 3, or 2 as a nearly linear control.

    Raises:
        InputError: If a number is out of range.
    """

    public = True

    def __init__(
        self,
        seed: int = DEFAULT_SEED,
        participants: int | None = None,
        patients: int = DEFAULT_PATIENTS,
        recipe: int = CURRENT,
    ) -> None:
        from uadbench.cohorts.synthetic.people import healthy_visits, mild_visits, patient_visits

        if recipe not in RECIPES:
            raise InputError(f"phantom: recipe={recipe}; choose {' or '.join(map(str, RECIPES))}")
        usual = DEFAULT_PARTICIPANTS if recipe == CURRENT else EARLIER_PARTICIPANTS
        options = {
            "seed": (seed, DEFAULT_SEED),
            "participants": (usual if participants is None else participants, usual),
            "patients": (patients, DEFAULT_PATIENTS),
            "recipe": (recipe, CURRENT),
        }
        for name, least in (("participants", 1), ("patients", 0)):
            if not least <= options[name][0] <= 9999:
                raise InputError(f"phantom: {name}={options[name][0]}; choose {least} to 9999")
        chosen = ",".join(f"{name}={value}" for name, (value, default) in options.items() if value != default)
        self.name = f"phantom:{chosen}" if chosen else "phantom"
        self.version = str(recipe)
        self.seed, self.recipe = seed, RECIPES[recipe]
        kinds = [(healthy_visits, options["participants"][0]), (patient_visits, patients)]
        if self.recipe.mild_patients:
            kinds.append((mild_visits, patients))
        visits = [visit for of, count in kinds for index in range(count) for visit in of(self.recipe, seed, index)]
        table = pd.DataFrame([visit[:-1] for visit in visits], columns=list(visits[0]._fields[:-1]))
        self.participants = table.assign(scanner="")[list(COLUMNS)]
        self._visits = {(visit.participant_id, visit.session_id): visit for visit in visits}

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """Keys that change whenever an image would change.

        Args:
            rows: Rows of `participants`.

        Returns:
            For each row, a hash of the version, the seed, the participant and the session.
        """
        return [files.content_hash("phantom", self.version, self.seed, *key) for key in keys_of(rows)]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Generate scans, in parallel on the threads of torch (about 0.1 s per scan and thread).

        Args:
            grid: The grid.
            rows: Rows of `participants`.

        Yields:
            The scans, in the order of the rows; `Scan.extent` is the range on `norms.BASE`.

        Raises:
            InputError: For a row that is not a scan of this cohort.
        """
        from uadbench.cohorts.synthetic.render import render
        from uadbench.runtime.threads import SideBySide

        visits = [self._visit(*key) for key in keys_of(rows)]

        def make(visit: Visit) -> Scan:
            image = render(visit.person, visit.session_id)
            extent = float(image.min()), float(image.max())
            properties = {name: getattr(visit, name) for name in _PROPERTIES}
            data = _sample(image, BASE, grid)
            return Scan(visit.participant_id, visit.session_id, data, grid.affine, extent, **properties)

        yield from SideBySide().each(make, visits)

    def regional_values(self, count: int) -> Iterator[tuple[float, str, Sequence[float]]]:
        """Compute regional values of healthy participants without generating images.

        Args:
            count: The number of participants, which may exceed that of the cohort.

        Yields:
            The age, the sex, and the SUVR of each region (in the order of `norms.REGIONS`) of each participant.
        """
        from uadbench.cohorts.synthetic.people import healthy_visits
        from uadbench.cohorts.synthetic.render import regional_values
        from uadbench.runtime.threads import SideBySide

        def measure(index: int) -> tuple[float, str, Sequence[float]]:
            visit = next(healthy_visits(self.recipe, self.seed, index))
            return visit.age, visit.sex, regional_values(visit.person, visit.session_id)

        yield from SideBySide().each(measure, range(count))

    def label_overlap(self, count: int) -> float:
        """Compute the overlap of gyral labels between healthy participants, without generating images.

        Args:
            count: The number of participants.

        Returns:
            The mean target overlap of pairs, 0 to 1.
        """
        from uadbench.cohorts.synthetic.overlap import target_overlap
        from uadbench.cohorts.synthetic.people import healthy_visits

        return target_overlap([next(healthy_visits(self.recipe, self.seed, index)).person for index in range(count)])

    def _visit(self, participant: str, session: str) -> Visit:
        if (participant, session) not in self._visits:
            names = self.participants["participant_id"]
            raise InputError(
                f"{self.name}: has no scan {participant}_{session}; its participants are {names.iloc[0]} to "
                f"{names.iloc[-1]}, and `participants` lists their sessions"
            )
        return self._visits[participant, session]


def _sample(image: Volume, base: Grid, grid: Grid) -> Volume:
    """Resample like `atlas.resample`, but faster, axis by axis, because both grids have parallel axes."""
    for axis in range(3):
        steps = grid.voxel_mm * np.arange(grid.shape[axis]) + grid.origin[axis] - base.origin[axis]
        position = np.round(steps / base.voxel_mm, 9)
        low = np.clip(np.floor(position).astype(np.int64), 0, base.shape[axis] - 1)
        column = [-1 if k == axis else 1 for k in range(3)]
        share = (position - low).astype(np.float32).reshape(column)
        inside = ((position >= 0) & (position <= base.shape[axis] - 1)).reshape(column)
        here = image.take(low, axis)
        if share.any():  # otherwise voxel centres coincide
            there = image.take(np.minimum(low + 1, base.shape[axis] - 1), axis)
            here += (there - here) * share
        image = here if inside.all() else here * inside
    return image
