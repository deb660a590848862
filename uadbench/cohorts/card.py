"""A cohort's card: what its scans measure like, beside what is published of healthy FDG PET.

The same figures for any cohort, the phantom or a lab's own, so that the two can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from uadbench import atlas
from uadbench.cohorts import norms
from uadbench.cohorts.base import Cohort
from uadbench.cohorts.norms import BASE, REGIONS, ROWS
from uadbench.cohorts.splits import baseline
from uadbench.errors import InputError
from uadbench.progress import Progress
from uadbench.types import Scan, Volume

REVISION = "1"
"""Changes whenever the same scans would get another card."""

COMPONENTS, COMPONENT_SCANS, SMOOTHING_MM = 32, 237, 12.0
"""The principal components are those of so many scans (the paper's training participants), smoothed so much (FWHM)."""

RETESTED = 100
AGE_PEOPLE = 3000
SHOWN = 12
TABLE = tuple(name for name, region in REGIONS.items() if region.published)
FRONT = ("superior frontal", "dorsolateral frontal", "orbitofrontal", "anterior cingulate", "insula")
TEMPLATE = "correlation of the mean with a real average, in the brain"
UNCHANGED = ("cerebellum", "pons", "lateral occipital", "pericalcarine")
Values = npt.NDArray[np.float64]


@runtime_checkable
class KnowsRegions(Protocol):
    """A cohort that can give regional values of any number of participants without images."""

    def regional_values(self, count: int) -> Iterator[tuple[float, str, Sequence[float]]]:
        """Age, sex and mean SUVR of each of `norms.REGIONS`."""


@dataclass(frozen=True)
class Figure:
    """One number of the card.

    `low` and `high` bound its band (None: open); `value` is None where it could not be measured, and `note` says why.
    """

    name: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    source: str
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "pass", "fail" or "n/a"."""
        if self.value is None:
            return "n/a"
        above = self.low is None or self.value >= self.low
        return "pass" if above and (self.high is None or self.value <= self.high) else "fail"


@dataclass
class Portrait:
    """What the picture of a cohort shows, on `norms.BASE`."""

    scans: list[Volume] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mean: Volume | None = None
    variation: Volume | None = None
    reference: Volume | None = None


@dataclass(frozen=True)
class Card:
    """A cohort's card.

    Attributes
    ----------
    counts : participants, scans and what was measured
    figures : every number with its band
    """

    cohort: str
    version: str
    fingerprint: str
    counts: dict[str, int]
    figures: tuple[Figure, ...]
    portrait: Portrait = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures."""
        keys = ("name", "unit", "value", "low", "high", "verdict", "source", "note")
        figures = [{key: getattr(figure, key) for key in keys} for figure in self.figures]
        head = {"cohort": self.cohort, "version": self.version, "fingerprint": self.fingerprint}
        return {**head, "revision": REVISION, "counts": self.counts, "figures": figures}


class _Crowd:
    """What is kept of scans that pass one by one: regional values, voxelwise moments, coarse images."""

    def __init__(self) -> None:
        self.regions: list[Values] = []  # (left, right, both) x regions
        self.meta: list[float] = []
        self.contrast: list[float] = []
        self.unit: list[float] = []
        self.coarse: list[npt.NDArray[np.float32]] = []
        self.ages: list[float] = []
        self.sexes: list[str] = []
        self.sum = np.zeros(BASE.shape)
        self.squares = np.zeros(BASE.shape)

    def add(self, scan: Scan, coarse: bool) -> Volume:
        """Measure one scan; returns it in SUVR."""
        unit = float(scan.data[norms.reference()].mean(dtype=np.float64))
        if unit <= 0:
            raise InputError(f"{'_'.join(scan.key)}: no uptake in cerebellum and pons; is it in MNI space?")
        image = scan.data / np.float32(unit)
        self.unit.append(unit)
        self.regions.append(_regional(image))
        self.meta.append(float(image[norms.meta_region()].mean()))
        self.contrast.append(float(image[norms.pure_grey()].mean() / image[norms.deep_white()].mean()))
        self.sum += image
        self.squares += np.square(image, dtype=np.float64)
        self.ages.append(scan.age)
        self.sexes.append(scan.sex)
        if coarse:
            self.coarse.append(_coarse(image))
        return image

    @property
    def values(self) -> Values:
        """(scans, sides (left, right, both), regions)."""
        return np.stack(self.regions)

    def moments(self) -> tuple[Volume, Volume]:
        """Voxelwise mean and coefficient of variation (0 outside the brain), (X, Y, Z) float32."""
        count, brain = len(self.unit), atlas.brain_mask(BASE)
        mean = self.sum / count
        variance = np.clip(self.squares - count * mean**2, 0, None) / max(count - 1, 1)
        variation = np.where(brain, np.sqrt(variance) / np.where(brain, np.maximum(mean, 1e-6), 1), 0)
        return mean.astype(np.float32), variation.astype(np.float32)


def draw_card(
    cohort: Cohort,
    progress: Progress,
    *,
    healthy: str = "CN",
    patients: str = "AD",
    participants: int | None = None,
    template: Path | None = None,
) -> Card:
    """Measure a cohort, one scan in memory at a time.

    Parameters
    ----------
    healthy, patients : the `group` of each
    participants : at most so many healthy participants (by default all)
    template : an average FDG PET in MNI space (NIfTI) to lay beside the cohort's mean

    Scans are measured at 2 mm, divided by their mean over cerebellum and pons.
    Raises InputError for a cohort without two healthy participants, and for a scan that cannot be used.
    """
    table = cohort.participants
    people = baseline(table[table["group"] == healthy])[:participants]
    if len(people) < 2:
        raise InputError(f"{cohort.name}: has {len(people)} participants of group '{healthy}'; say --healthy GROUP")
    ill = baseline(table[table["group"] == patients])
    again = _second_sessions(table, people)
    rows = {"healthy": people, "again": again, "patients": ill}
    portrait = Portrait()
    crowds: dict[str, _Crowd] = {}
    with progress.task(
        f"{cohort.name}: measuring {sum(map(len, rows.values()))} scans", sum(map(len, rows.values()))
    ) as task:
        for part, some in rows.items():
            crowd = crowds[part] = _Crowd()
            for scan in cohort.scans(BASE, some.reset_index(drop=True)):
                image = crowd.add(scan, coarse=part == "healthy")
                if part == "healthy" and len(portrait.scans) < SHOWN:
                    portrait.scans.append(image)
                    portrait.names.append(f"{scan.participant}\n{scan.sex} {scan.age:.0f}")
                task.advance(1, scan.participant)
    portrait.mean, portrait.variation = crowds["healthy"].moments()
    portrait.reference = None if template is None else _read_template(template)
    first = crowds["healthy"].values[_positions(people, again), 2] if len(again) else np.empty((0, len(REGIONS)))
    figures = [
        *_regional_figures(crowds["healthy"]),
        *_symmetry_figures(crowds["healthy"]),
        *_voxel_figures(crowds["healthy"], portrait),
        _reliability(first, crowds["again"]),
        *_age_figures(cohort, crowds["healthy"], progress),
        *_patient_figures(crowds["healthy"], crowds["patients"]),
        _template_figure(portrait),
    ]
    counts = {
        "participants": int(table["participant_id"].nunique()),
        "scans": len(table),
        "healthy measured": len(people),
        "patients measured": len(ill),
        "rescans measured": len(again),
    }
    return Card(cohort.name, cohort.version, cohort.content_key(table), counts, tuple(figures), portrait)


def _second_sessions(table: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The second session of the first participants who have one."""
    known = table[table["participant_id"].isin(people["participant_id"])]
    later = known.sort_values(["participant_id", "session_id"], kind="stable").groupby("participant_id").nth(1)
    return pd.DataFrame(later.iloc[:RETESTED])


def _positions(people: pd.DataFrame, again: pd.DataFrame) -> list[int]:
    order = {name: position for position, name in enumerate(people["participant_id"])}
    return [order[name] for name in again["participant_id"]]


def _regional(image: Volume) -> Values:
    """(3, regions): mean of each region's measured voxels on the left, the right, and both."""
    inside, own = norms.measured(), norms.region_of_voxel()
    right = np.broadcast_to(norms.millimetres()[0] > 0, BASE.shape)[inside]
    index = own[inside] + len(REGIONS) * right
    counts = np.bincount(index, minlength=2 * len(REGIONS)).reshape(2, -1)
    sums = np.bincount(index, weights=image[inside], minlength=2 * len(REGIONS)).reshape(2, -1)
    return np.concatenate([sums / np.maximum(counts, 1), [sums.sum(axis=0) / counts.sum(axis=0)]])


def _coarse(image: Volume) -> npt.NDArray[np.float32]:
    """The brain at 4 mm (means of 2 x 2 x 2 voxels), smoothed; flat."""
    x, y, z = (n // 2 for n in BASE.shape)
    halved = image[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    smooth = ndimage.gaussian_filter(halved, SMOOTHING_MM / 2.3548 / (2 * BASE.voxel_mm))
    brain = atlas.brain_mask(BASE)[: 2 * x : 2, : 2 * y : 2, : 2 * z : 2]
    return np.asarray(smooth[brain], dtype=np.float32)


def _regional_figures(crowd: _Crowd) -> Iterator[Figure]:
    values = crowd.values[:, 2]
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    table = "537 healthy adults, published FreeSurfer table"
    for name in TABLE:
        known = REGIONS[name].mean
        yield Figure(f"mean SUVR, {name}", "SUVR", float(mean[ROWS[name]]), 0.96 * known, 1.04 * known, table)
    for name in TABLE[:-1]:
        known = REGIONS[name].sd
        yield Figure(f"between-subject SD, {name}", "SUVR", float(sd[ROWS[name]]), 0.7 * known, 1.3 * known, table)
    relative = (values / mean - 1)[:, [ROWS[name] for name in TABLE[:-1]]]
    power = np.linalg.svd(relative - relative.mean(axis=0), compute_uv=False) ** 2
    share = float(100 * power[0] / power.sum())
    note = "regions of the table, each relative to its mean"
    yield Figure("first principal component of regional values", "% of variance", share, 40, 60, "published", note)


def _symmetry_figures(crowd: _Crowd) -> Iterator[Figure]:
    rows = [ROWS[name] for name in TABLE[:-1]]
    left, right = crowd.values[:, 0][:, rows], crowd.values[:, 1][:, rows]
    together = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(left.T, right.T, strict=True)])
    uneven = (200 * (left - right) / (left + right)).std(axis=0, ddof=1)
    for what, unit, found, low, high in (
        ("left-right correlation", "", together, 0.85, 0.98),
        ("asymmetry SD", "%", uneven, 2, 4),
    ):
        for word, position in (
            ("lowest", np.argmin(found)),
            ("median", np.argsort(found)[len(found) // 2]),
            ("highest", np.argmax(found)),
        ):
            note = TABLE[int(position)]
            yield Figure(f"{what}, {word} region", unit, float(found[position]), low, high, "published", note)


def _voxel_figures(crowd: _Crowd, portrait: Portrait) -> Iterator[Figure]:
    assert portrait.variation is not None
    low, middle, high = np.percentile(100 * portrait.variation[atlas.brain_mask(BASE)], [25, 50, 75])
    maps = "published SD / mean maps"
    yield Figure("voxelwise CV, lower quartile", "%", float(low), 8, None, maps)
    yield Figure("voxelwise CV, median", "%", float(middle), 9, 12, maps)
    yield Figure("voxelwise CV, upper quartile", "%", float(high), None, 14, maps)
    templates = "real average templates"
    yield Figure(
        "grey to white", "ratio", float(np.mean(crowd.contrast)), 1.6, 2.05, templates, "grey > 0.6; deep white"
    )
    yield _unexplained(crowd)


def _unexplained(crowd: _Crowd) -> Figure:
    """Variance of held-out scans that the principal components of others leave."""
    name = f"variance beyond {COMPONENTS} components of {COMPONENT_SCANS} scans"
    held_out = len(crowd.coarse) - COMPONENT_SCANS
    note = f"held-out scans after {SMOOTHING_MM:g} mm smoothing"
    if held_out < 20:
        return Figure(name, "%", None, 25, 50, "ours", f"needs {COMPONENT_SCANS + 20} healthy participants")
    known, other = np.stack(crowd.coarse[:COMPONENT_SCANS]), np.stack(crowd.coarse[COMPONENT_SCANS:])
    mean = known.mean(axis=0)
    axes = np.linalg.svd(known - mean, full_matrices=False)[2][:COMPONENTS]
    off = other - mean
    left = off - (off @ axes.T) @ axes
    return Figure(name, "%", float(100 * np.square(left).sum() / np.square(off).sum()), 25, 50, "ours", note)


def _reliability(first: Values, again: _Crowd) -> Figure:
    """ICC(2,1) of regional values over two sessions (Shrout and Fleiss 1979), the lowest of the table's regions."""
    name = "ICC of regional values, two sessions, lowest region"
    if len(first) < 20:
        return Figure(name, "", None, 0.85, None, "published", "needs 20 participants with two sessions")
    second = again.values[:, 2]
    found = [icc(np.stack([first[:, ROWS[n]], second[:, ROWS[n]]], axis=1)) for n in TABLE[:-1]]
    note = f"{TABLE[int(np.argmin(found))]}; median {np.median(found):.3f}; {len(first)} participants"
    return Figure(name, "", float(min(found)), 0.85, None, "published", note)


def icc(ratings: Values) -> float:
    """ICC(2,1), absolute agreement of single measurements, of (subjects, occasions); Shrout and Fleiss 1979."""
    n, k = ratings.shape
    mean = ratings.mean()
    rows, columns = ratings.mean(axis=1) - mean, ratings.mean(axis=0) - mean
    between, occasions = k * (rows**2).sum() / (n - 1), n * (columns**2).sum() / (k - 1)
    rest = ((ratings - mean - rows[:, None] - columns) ** 2).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest + k * (occasions - rest) / n))


def _age_figures(cohort: Cohort, crowd: _Crowd, progress: Progress) -> Iterator[Figure]:
    """Per cent change per decade, from a regression on age and sex."""
    if isinstance(cohort, KnowsRegions):
        with progress.task(f"{cohort.name}: regional values of {AGE_PEOPLE} participants", AGE_PEOPLE) as task:
            known = []
            for one in cohort.regional_values(AGE_PEOPLE):
                known.append(one)
                task.advance(1)
        ages, sexes = np.array([one[0] for one in known]), [one[1] for one in known]
        values, note = np.array([one[2] for one in known]), f"{AGE_PEOPLE} participants, without images"
    else:
        usable = np.isfinite(crowd.ages)
        ages, values = np.array(crowd.ages)[usable], crowd.values[usable, 2]
        sexes, note = list(np.array(crowd.sexes)[usable]), f"{usable.sum()} participants"
    source = "Loessner 1995, Shen 2012, Allocca 2021"
    enough = len(ages) >= 50 and np.std(ages) > 1
    if enough:
        women = np.array([0.5 if sex == "F" else -0.5 if sex == "M" else 0.0 for sex in sexes])
        design = np.stack([np.ones(len(ages)), (ages - ages.mean()) / 10, women - women.mean()], axis=1)
        slopes = 100 * np.linalg.lstsq(design, values, rcond=None)[0][1] / values.mean(axis=0)
    else:
        note = "needs 50 healthy participants with an age"
    for names, low, high in ((FRONT, -4.0, -2.0), (UNCHANGED, -0.7, 0.7)):
        for name in names:
            value = float(slopes[ROWS[name]]) if enough else None
            yield Figure(f"age slope, {name}", "% per decade", value, low, high, source, note)


def _patient_figures(healthy: _Crowd, ill: _Crowd) -> Iterator[Figure]:
    change = ratio = None
    note = f"{len(ill.meta)} patients; angular, posterior cingulate, inferior temporal"
    if len(ill.meta) >= 10:
        change = float(100 * (np.mean(ill.meta) / np.mean(healthy.meta) - 1))
        ratio = float(np.std(ill.meta, ddof=1) / np.std(healthy.meta, ddof=1))
    else:
        note = "needs 10 patients; say --patients GROUP"
    source = "Landau 2011"
    yield Figure("patients against controls, AD meta-region", "%", change, -28, -18, source, note)
    yield Figure("patients' SD to controls', AD meta-region", "ratio", ratio, 1, None, source, note)


def _read_template(file: Path) -> Volume:
    from uadbench.cohorts.nifti import read_volume

    image = read_volume(file)
    return atlas.resample(image.data, image.affine, BASE.affine, BASE.shape)


def _template_figure(portrait: Portrait) -> Figure:
    if portrait.reference is None or portrait.mean is None:
        return Figure(TEMPLATE, "", None, 0.80, None, "template", "say --template FILE")
    brain = atlas.brain_mask(BASE)
    return Figure(
        TEMPLATE, "", float(np.corrcoef(portrait.mean[brain], portrait.reference[brain])[0, 1]), 0.80, None, "template"
    )
