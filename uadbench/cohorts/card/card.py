"""The cohort summary: measurements of a cohort's scans compared with published values of healthy FDG PET.

The same measurements are made for any cohort, such as the phantom or a lab's own data, so that cohorts can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uadbench.cohorts.base import Cohort, content_key, visits_of
from uadbench.cohorts.card.figures import (
    Figure,
    age_figures,
    overlap_figure,
    patient_figures,
    regional_figures,
    reliability,
    shape_figures,
    symmetry_figures,
    template_figure,
    voxel_figures,
)
from uadbench.cohorts.card.statistics import ScanStatistics
from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.splits.roles import Roles
from uadbench.cohorts.splits.split import baseline
from uadbench.cohorts.synthetic.norms import BASE, REGIONS
from uadbench.errors import InputError
from uadbench.runtime.progress import Progress
from uadbench.space import atlas
from uadbench.types import Volume

REVISION = "2"
"""Changes whenever the summary of the same scans would change."""

RETESTED = 100
SHOWN = 12


@dataclass
class Portrait:
    """The images in the picture of a cohort, on the grid `norms.BASE`.

    Attributes:
        scans: Some healthy scans, each (X, Y, Z) float32, SUVR.
        names: Their captions.
        mean: The mean of all healthy scans, (X, Y, Z) float32, SUVR.
        variation: The voxelwise coefficient of variation, (X, Y, Z) float32.
        reference: The template to compare with, (X, Y, Z) float32; None without a template.
    """

    scans: list[Volume] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mean: Volume | None = None
    variation: Volume | None = None
    reference: Volume | None = None


@dataclass(frozen=True)
class Card:
    """A cohort summary.

    Attributes:
        cohort: The name of the cohort.
        version: The version of the cohort.
        fingerprint: A hash of its scans.
        counts: The numbers of participants and scans.
        figures: The measurements, each with its reference range.
        portrait: The images for the picture.
    """

    cohort: str
    version: str
    fingerprint: str
    counts: dict[str, int]
    figures: tuple[Figure, ...]
    portrait: Portrait = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """All fields except the images, for JSON."""
        keys = ("name", "unit", "value", "low", "high", "verdict", "source", "note")
        figures = [{key: getattr(figure, key) for key in keys} for figure in self.figures]
        head = {"cohort": self.cohort, "version": self.version, "fingerprint": self.fingerprint}
        return {**head, "revision": REVISION, "counts": self.counts, "figures": figures}


def draw_card(
    cohort: Cohort,
    progress: Progress,
    *,
    healthy: str = "CN",
    patients: str = "AD",
    participants: int | None = None,
    template: Path | None = None,
) -> Card:
    """Measure a cohort, with one scan in memory at a time.

    Scans are measured at 2 mm, after division by their mean over cerebellum and pons.

    Args:
        cohort: The cohort.
        progress: The display of progress.
        healthy: The diagnosis of healthy participants.
        patients: The diagnosis of patients.
        participants: The largest number of healthy participants to measure; by default all.
        template: An average FDG PET in MNI space (NIfTI) to compare with the cohort's mean.

    Returns:
        The summary.

    Raises:
        InputError: If the cohort has fewer than two healthy participants, or a scan cannot be used.
    """
    table, roles = cohort.participants, Roles((healthy,), (patients,))
    well = roles.healthy_rows(table, visits_of(cohort))
    for line in (roles.counted(table), *roles.left_out(table, visits_of(cohort))):
        progress.notice(f"{cohort.name}: {line}")
    people = baseline(well)[:participants]
    if len(people) < 2:
        raise InputError(
            f"{cohort.name}: has {len(people)} participants of group '{healthy}'; choose another with --healthy GROUP"
        )
    ill = baseline(roles.patient_rows(table))
    again = _second_sessions(well, people)
    rows = {"healthy": people, "again": again, "patients": ill}
    portrait = Portrait(reference=None if template is None else _read_template(template))
    measured: dict[str, ScanStatistics] = {}
    with progress.task(
        f"{cohort.name}: measuring {sum(map(len, rows.values()))} scans", sum(map(len, rows.values()))
    ) as task:
        for part, some in rows.items():
            measurements = measured[part] = ScanStatistics()
            for scan in cohort.scans(BASE, some.reset_index(drop=True)):
                image = measurements.add(scan, coarse=part == "healthy")
                if part == "healthy" and len(portrait.scans) < SHOWN:
                    portrait.scans.append(image)
                    portrait.names.append(f"{scan.participant}\n{scan.sex} {scan.age:.0f}")
                task.advance(1, scan.participant)
    reference = measured["healthy"]
    portrait.mean, portrait.variation = reference.moments()
    first = reference.values[_positions(people, again), 2] if len(again) else np.empty((0, len(REGIONS)))
    figures = [
        *regional_figures(reference),
        *symmetry_figures(reference),
        *voxel_figures(reference, portrait.variation),
        *shape_figures(reference),
        overlap_figure(cohort),
        reliability(first, measured["again"]),
        *age_figures(cohort, reference, progress),
        *patient_figures(reference, measured["patients"]),
        template_figure(portrait.mean, portrait.reference),
    ]
    counts = {
        "participants": int(table["participant_id"].nunique()),
        "scans": len(table),
        "healthy measured": len(people),
        "patients measured": len(ill),
        "rescans measured": len(again),
    }
    return Card(cohort.name, cohort.version, content_key(cohort, table), counts, tuple(figures), portrait)


def _second_sessions(healthy: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The second healthy sessions, of at most RETESTED participants."""
    sessions = healthy[healthy["participant_id"].isin(people["participant_id"])]
    later = sessions.sort_values(["participant_id", "session_id"], kind="stable").groupby("participant_id").nth(1)
    return pd.DataFrame(later.iloc[:RETESTED])


def _positions(people: pd.DataFrame, again: pd.DataFrame) -> list[int]:
    order = {name: position for position, name in enumerate(people["participant_id"])}
    return [order[name] for name in again["participant_id"]]


def _read_template(file: Path) -> Volume:
    from uadbench.cohorts.io.nifti import read_volume

    try:
        image = read_volume(file)
    except ScanError as error:
        if error.finding.kind != "NaN":
            raise
        # the usual advice names an option that templates do not have
        raise ScanError(replace(error.finding, advice="give a template without them")) from None
    return atlas.resample(image.data, image.affine, BASE.affine, BASE.shape)
