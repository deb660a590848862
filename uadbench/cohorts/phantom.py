"""The embedded cohort: healthy brains that never lived, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from uadbench import store
from uadbench.cohorts.base import COLUMNS
from uadbench.errors import InputError
from uadbench.registry import register_cohort
from uadbench.types import Grid, Scan, Volume

DEFAULT_SEED, DEFAULT_PARTICIPANTS = 2023, 401
SITES = 10


@register_cohort("phantom")
class Phantom:
    """Healthy FDG PET made on the spot from MNI templates: no download, no licence, no patient.

    Parameters
    ----------
    seed : draws other people
    participants : how many; participant k is the same person whatever the number

    Scans are made at 2 mm on `phantom_maps.BASE` and sampled on the grid that is asked for, so that a
    2 mm grid inside it is plain decimation of the cohort's CAPS export.
    """

    def __init__(self, seed: int = DEFAULT_SEED, participants: int = DEFAULT_PARTICIPANTS) -> None:
        from uadbench.cohorts.phantom_recipe import REVISION

        if not 1 <= participants <= 9999:
            raise InputError(f"phantom: participants={participants}; choose 1 to 9999")
        self.seed = seed
        self.version = REVISION
        chosen = {"seed": (seed, DEFAULT_SEED), "participants": (participants, DEFAULT_PARTICIPANTS)}
        options = ",".join(f"{name}={value}" for name, (value, usual) in chosen.items() if value != usual)
        self.name = f"phantom:{options}" if options else "phantom"
        self.participants = pd.DataFrame([self._row(index) for index in range(participants)], columns=list(COLUMNS))

    def content_key(self, rows: pd.DataFrame) -> str:
        """A hash of recipe, seed and who is asked for; the images follow from these."""
        return store.content_hash("phantom", self.version, self.seed, _ids(rows))

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Make the scans of these rows, one at a time (about 0.1 s each).

        `Scan.extent` is the range on the base lattice. Raises InputError for a row that is no participant.
        """
        from uadbench.cohorts.phantom_maps import BASE
        from uadbench.cohorts.phantom_recipe import Person, render

        for participant, session in _ids(rows):
            index = _index(participant, len(self.participants))
            row = self.participants.iloc[index]
            person = Person(self.seed, index, float(row.age), row.sex, int(row.site.removeprefix("site-")))
            image = render(person, session)
            yield Scan(
                participant=participant,
                session=session,
                data=_sample(image, BASE, grid),
                affine=grid.affine,
                extent=(float(image.min()), float(image.max())),
                age=person.age,
                sex=person.sex,
                site=row.site,
                group=row.group,
            )

    def _row(self, index: int) -> tuple[str, str, str, float, str, str]:
        """Who participant `index` is: age 55 to 90 (mean 73, SD 7, like healthy ADNI participants)."""
        rng = np.random.default_rng(store.keyed_seed("phantom", self.version, self.seed, index, "person"))
        age = rng.normal(73, 7)
        while not 55 <= age <= 90:
            age = rng.normal(73, 7)
        sex, site = "FM"[rng.integers(2)], f"site-{rng.integers(1, SITES + 1):02d}"
        return f"sub-P{index + 1:04d}", "ses-M000", "CN", round(float(age), 1), sex, site


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


def _ids(rows: pd.DataFrame) -> list[list[str]]:
    return [[str(p), str(s)] for p, s in zip(rows["participant_id"], rows["session_id"], strict=True)]


def _index(participant: str, count: int) -> int:
    digits = participant.removeprefix("sub-P")
    if not digits.isdigit() or not 1 <= int(digits) <= count:
        raise InputError(f"phantom: no participant is called '{participant}'; they are sub-P0001 to sub-P{count:04d}")
    return int(digits) - 1
