"""Cohorts in Python: opened, checked, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uadbench.api.progress import LoggedProgress

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.cohorts.base import Cohort
    from uadbench.cohorts.card.card import Card
    from uadbench.cohorts.checks.cohort import CheckUp


@dataclass(frozen=True)
class OpenedCohort:
    """A cohort whose tables have been read; `uadbench.run(cohort=...)` takes it.

    Attributes:
        reference: What was opened, as after `--cohort`.
        healthy: Diagnoses of healthy people; empty for the protocol's.
        patients: Diagnoses of patients; empty for the protocol's.
        cohort: The cohort itself, whose scans are read when they are needed.
    """

    reference: str
    healthy: tuple[str, ...]
    patients: tuple[str, ...]
    cohort: Cohort

    @property
    def name(self) -> str:
        """What results call it."""
        return self.cohort.name

    @property
    def participants(self) -> pd.DataFrame:
        """One row per scan: participant, session, diagnosis (`group`), age, sex and what else is known."""
        return self.cohort.participants.copy()

    def check(self, split: str | Path | None = None, progress: bool = True) -> CheckUp:
        """Read every scan and table, and list what is wrong; nothing is changed.

        Args:
            split: A split to check too: ClinicaDL's split folder, or a split's .json.
            progress: Show a bar.

        Raises:
            InputError: If the cohort is not made of files.
        """
        from uadbench.cohorts.checks.cohort import check_cohort
        from uadbench.cohorts.splits.roles import Roles

        roles = Roles(self.healthy or ("CN",), self.patients or ("AD", "MCI"))
        return check_cohort(self.reference, roles, LoggedProgress(progress), None if split is None else Path(split))

    def summary(self, participants: int | None = None, progress: bool = True) -> Card:
        """Measure the cohort beside published values of healthy FDG PET.

        Args:
            participants: At most so many healthy participants; by default all.
            progress: Show bars.

        Raises:
            InputError: If it has fewer than two healthy participants, or a scan cannot be used.
        """
        from uadbench.cohorts.card.card import draw_card

        healthy, patients = (self.healthy or ("CN",))[0], (self.patients or ("AD",))[0]
        return draw_card(
            self.cohort, LoggedProgress(progress), healthy=healthy, patients=patients, participants=participants
        )

    def __repr__(self) -> str:
        table = self.cohort.participants
        return f"<cohort {self.name}: {table['participant_id'].nunique()} participants, {len(table)} scans>"


def cohort(reference: str | Path, *, healthy: Sequence[str] = (), patients: Sequence[str] = ()) -> OpenedCohort:
    """Open a cohort: its tables are read, its scans are not.

    Args:
        reference: "phantom", "phantom:participants=60", the folder of a CAPS tree, or a .tsv or .csv table of scans.
        healthy: Diagnoses of healthy people, such as ["CN"].
        patients: Diagnoses of patients, such as ["AD"].

    Raises:
        InputError: If there is no such cohort, or its tables cannot be used.
    """
    from uadbench.cohorts.opening import open_and_warn

    opened = open_and_warn(str(reference), LoggedProgress(bars=False))
    return OpenedCohort(str(reference), tuple(healthy), tuple(patients), opened)


def reference_of(given: str | Path | OpenedCohort | None) -> str | None:
    """What a cohort is called after `--cohort`."""
    return given.reference if isinstance(given, OpenedCohort) else None if given is None else str(given)
