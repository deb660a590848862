"""The measurements of the cohort summary, each with its reference range and the source of the range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from uadbench.cohorts.base import Cohort
from uadbench.cohorts.card import shape
from uadbench.cohorts.card.statistics import SMOOTHING_MM, ScanStatistics, coarse_places
from uadbench.cohorts.synthetic.norms import BASE, REGIONS, ROWS
from uadbench.runtime.progress import Progress
from uadbench.space import atlas
from uadbench.types import Values, Volume

COMPONENTS, COMPONENT_SCANS = 32, 237
"""The number of principal components, and of scans from which they are computed (the paper's training participants)."""

AGE_PEOPLE = 3000
SHAPE_SCANS = 200
OVERLAP_PEOPLE = 16
OVERLAP = (0.40, 0.62)
"""The range of the target overlap after affine registration (FLIRT): means of 0.40 to 0.59 in four data sets of Klein
et al. 2009 (NeuroImage 46:786); larger labels overlap more."""

TABLE = tuple(name for name, region in REGIONS.items() if region.published)
FRONT = ("superior frontal", "dorsolateral frontal", "orbitofrontal", "anterior cingulate", "insula")
TEMPLATE = "correlation of the mean with a real average, in the brain"
UNCHANGED = ("cerebellum", "pons", "lateral occipital", "pericalcarine")


@runtime_checkable
class KnowsRegions(Protocol):
    """A cohort that can compute regional values of any number of participants without images."""

    def regional_values(self, count: int) -> Iterator[tuple[float, str, Sequence[float]]]:
        """Compute regional values.

        Args:
            count: The number of participants.

        Yields:
            The age, the sex, and the mean SUVR of each of `norms.REGIONS` of each participant.
        """


@runtime_checkable
class KnowsAnatomy(Protocol):
    """A cohort that knows the labels of gyri of its participants."""

    def label_overlap(self, count: int) -> float:
        """Compute the overlap of gyral labels between participants.

        Args:
            count: The number of participants.

        Returns:
            The mean target overlap of pairs, 0 to 1.
        """


@dataclass(frozen=True)
class Figure:
    """One measurement of the cohort summary.

    Attributes:
        name: The name.
        unit: The unit; "" for a dimensionless number.
        value: The value; None if it could not be measured.
        low: The lower end of the reference range; None if open.
        high: The upper end of the reference range; None if open.
        source: The source of the range.
        note: A remark, such as why the value could not be measured.
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
        """Whether the value is in its reference range ("pass") or not ("fail"), or is missing ("n/a")."""
        if self.value is None:
            return "n/a"
        above = self.low is None or self.value >= self.low
        return "pass" if above and (self.high is None or self.value <= self.high) else "fail"


def regional_figures(scans: ScanStatistics) -> Iterator[Figure]:
    """Measure the mean and SD of published regions, and the variance explained by their first principal component.

    Args:
        scans: The healthy scans.

    Yields:
        The measurements.
    """
    values = scans.values[:, 2]
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    table = "537 healthy adults, published FreeSurfer table"
    for name in TABLE:
        published = REGIONS[name].mean
        yield Figure(f"mean SUVR, {name}", "SUVR", float(mean[ROWS[name]]), 0.96 * published, 1.04 * published, table)
    for name in TABLE[:-1]:
        published = REGIONS[name].sd
        between = float(sd[ROWS[name]])
        yield Figure(f"between-subject SD, {name}", "SUVR", between, 0.7 * published, 1.3 * published, table)
    relative = (values / mean - 1)[:, [ROWS[name] for name in TABLE[:-1]]]
    power = np.linalg.svd(relative - relative.mean(axis=0), compute_uv=False) ** 2
    share = float(100 * power[0] / power.sum())
    note = "regions of the table, each relative to its mean"
    yield Figure("first principal component of regional values", "% of variance", share, 40, 60, "published", note)


def symmetry_figures(scans: ScanStatistics) -> Iterator[Figure]:
    """Measure the correlation and the difference of left and right regions.

    Args:
        scans: The healthy scans.

    Yields:
        The measurements.
    """
    rows = [ROWS[name] for name in TABLE[:-1]]
    left, right = scans.values[:, 0][:, rows], scans.values[:, 1][:, rows]
    together = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(left.T, right.T, strict=True)])
    uneven = (200 * (left - right) / (left + right)).std(axis=0, ddof=1)
    for what, unit, values, low, high in (
        ("left-right correlation", "", together, 0.85, 0.98),
        ("asymmetry SD", "%", uneven, 2, 4),
    ):
        for word, position in (
            ("lowest", np.argmin(values)),
            ("median", np.argsort(values)[len(values) // 2]),
            ("highest", np.argmax(values)),
        ):
            note = TABLE[int(position)]
            yield Figure(f"{what}, {word} region", unit, float(values[position]), low, high, "published", note)


def voxel_figures(scans: ScanStatistics, variation: Volume) -> Iterator[Figure]:
    """Measure the voxelwise variation, the contrast of grey and white matter, and the principal components.

    Args:
        scans: The healthy scans.
        variation: (X, Y, Z) float32, the voxelwise coefficient of variation.

    Yields:
        The measurements.
    """
    low, middle, high = np.percentile(100 * variation[atlas.brain_mask(BASE)], [25, 50, 75])
    maps = "published SD / mean maps"
    yield Figure("voxelwise CV, lower quartile", "%", float(low), 8, None, maps)
    yield Figure("voxelwise CV, median", "%", float(middle), 9, 12, maps)
    yield Figure("voxelwise CV, upper quartile", "%", float(high), None, 14, maps)
    templates = "real average templates"
    yield Figure(
        "grey to white", "ratio", float(np.mean(scans.contrast)), 1.6, 2.05, templates, "grey > 0.6; deep white"
    )
    yield _unexplained(scans)


def _unexplained(scans: ScanStatistics) -> Figure:
    """The variance of held-out scans that is not explained by the principal components of other scans."""
    name = f"variance beyond {COMPONENTS} components of {COMPONENT_SCANS} scans"
    held_out = len(scans.coarse) - COMPONENT_SCANS
    note = f"held-out scans after {SMOOTHING_MM:g} mm smoothing"
    if held_out < 20:
        return Figure(name, "%", None, 25, 50, "ours", f"needs {COMPONENT_SCANS + 20} healthy participants")
    fitted, other = np.stack(scans.coarse[:COMPONENT_SCANS]), np.stack(scans.coarse[COMPONENT_SCANS:])
    mean = fitted.mean(axis=0)
    axes = np.linalg.svd(fitted - mean, full_matrices=False)[2][:COMPONENTS]
    off = other - mean
    left = off - (off @ axes.T) @ axes
    return Figure(name, "%", float(100 * np.square(left).sum() / np.square(off).sum()), 25, 50, "ours", note)


def reliability(first: Values, again: ScanStatistics) -> Figure:
    """Measure the reliability of regional values: ICC(2,1) of two sessions (Shrout and Fleiss 1979).

    Args:
        first: (participants, regions) SUVR in the first session.
        again: The scans of the second session, in the same order.

    Returns:
        The lowest ICC of published regions.
    """
    name = "ICC of regional values, two sessions, lowest region"
    if len(first) < 20:
        return Figure(name, "", None, 0.85, None, "published", "needs 20 participants with two sessions")
    second = again.values[:, 2]
    values = [icc(np.stack([first[:, ROWS[n]], second[:, ROWS[n]]], axis=1)) for n in TABLE[:-1]]
    note = f"{TABLE[int(np.argmin(values))]}; median {np.median(values):.3f}; {len(first)} participants"
    return Figure(name, "", float(min(values)), 0.85, None, "published", note)


def icc(ratings: Values) -> float:
    """ICC(2,1), the absolute agreement of single measurements (Shrout and Fleiss 1979).

    Args:
        ratings: (subjects, occasions).

    Returns:
        The intraclass correlation.
    """
    n, k = ratings.shape
    mean = ratings.mean()
    rows, columns = ratings.mean(axis=1) - mean, ratings.mean(axis=0) - mean
    between, occasions = k * (rows**2).sum() / (n - 1), n * (columns**2).sum() / (k - 1)
    rest = ((ratings - mean - rows[:, None] - columns) ** 2).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest + k * (occasions - rest) / n))


def age_figures(cohort: Cohort, scans: ScanStatistics, progress: Progress) -> Iterator[Figure]:
    """Measure the change of regional values per decade, in per cent, by regression on age and sex.

    Args:
        cohort: The cohort.
        scans: The healthy scans.
        progress: The display of progress.

    Yields:
        The measurements.
    """
    if isinstance(cohort, KnowsRegions):
        with progress.task(f"{cohort.name}: regional values of {AGE_PEOPLE} participants", AGE_PEOPLE) as task:
            participants = []
            for one in cohort.regional_values(AGE_PEOPLE):
                participants.append(one)
                task.advance(1)
        ages, sexes = np.array([one[0] for one in participants]), [one[1] for one in participants]
        values, note = np.array([one[2] for one in participants]), f"{AGE_PEOPLE} participants, without images"
    else:
        usable = np.isfinite(scans.ages)
        ages, values = np.array(scans.ages)[usable], scans.values[usable, 2]
        sexes, note = list(np.array(scans.sexes)[usable]), f"{usable.sum()} participants"
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


def shape_figures(scans: ScanStatistics) -> Iterator[Figure]:
    """Measure how far the scans are from a linear, Gaussian world (see `shape`).

    Args:
        scans: The healthy scans.

    Yields:
        The measurements.
    """
    names = ("excess kurtosis of component scores, mean", "excess kurtosis of component scores, highest")
    pairs = "squared distance correlation of component scores, highest"
    linear, gain = "R2 of a patch from far tissue, ridge", "R2 of a patch from far tissue, gain by a kernel"
    count = len(scans.coarse)
    if count < SHAPE_SCANS:
        for name in (*names, pairs, linear, gain):
            yield Figure(name, "", None, None, None, "ours", f"needs {SHAPE_SCANS} healthy participants")
        return
    images = np.stack(scans.coarse).astype(np.float64)
    scores = shape.component_scores(images)
    tails, note = shape.excess_kurtosis(scores), f"{shape.COMPONENTS} components, {count} scans; 0 if Gaussian"
    # no published values: the lower limits exclude a Gaussian world
    yield Figure(names[0], "", float(tails.mean()), 0.1, None, "ours", note)
    yield Figure(names[1], "", float(tails.max()), 0.4, None, "ours", note)
    together = shape.distance_correlations(scores)
    yield Figure(pairs, "", float(together.max()), None, None, "ours", f"{len(together)} pairs; 0 if independent")
    predicted = shape.far_prediction(images, coarse_places())
    note = f"{shape.PATCHES} patches of {shape.PATCH_MM:g} mm, tissue beyond {shape.FAR_MM:g} mm, held-out scans"
    yield Figure(linear, "", predicted.ridge, None, None, "ours", note)
    yield Figure(gain, "", predicted.kernel - predicted.ridge, None, None, "ours", "Gaussian kernel against linear")


def overlap_figure(cohort: Cohort) -> Figure:
    """Measure the overlap of gyral labels between participants.

    Args:
        cohort: The cohort.

    Returns:
        The overlap; None for cohorts that do not know the labels.
    """
    name, source = "target overlap of gyral labels between people", "Klein 2009, affine registration"
    if not isinstance(cohort, KnowsAnatomy):
        return Figure(name, "", None, *OVERLAP, source, "needs a cohort with labels of each participant")
    value = cohort.label_overlap(OVERLAP_PEOPLE)
    return Figure(name, "", value, *OVERLAP, source, f"{OVERLAP_PEOPLE} participants; AAL3 labels of grey matter")


def patient_figures(healthy: ScanStatistics, ill: ScanStatistics) -> Iterator[Figure]:
    """Compare patients with healthy participants in the AD meta-region.

    Args:
        healthy: The healthy scans.
        ill: The scans of patients.

    Yields:
        The measurements.
    """
    change = ratio = None
    note = f"{len(ill.meta)} patients; angular, posterior cingulate, inferior temporal"
    if len(ill.meta) >= 10:
        change = float(100 * (np.mean(ill.meta) / np.mean(healthy.meta) - 1))
        ratio = float(np.std(ill.meta, ddof=1) / np.std(healthy.meta, ddof=1))
    else:
        note = "needs 10 patients; choose another group with --patients GROUP"
    source = "Landau 2011"
    yield Figure("patients against controls, AD meta-region", "%", change, -28, -18, source, note)
    yield Figure("patients' SD to controls', AD meta-region", "ratio", ratio, 1, None, source, note)


def template_figure(mean: Volume, template: Volume | None) -> Figure:
    """Compare the cohort's mean with a template.

    Args:
        mean: (X, Y, Z) float32, the mean of healthy scans on `norms.BASE`.
        template: (X, Y, Z) float32, an average of real scans on `norms.BASE`; None without a template.

    Returns:
        The correlation in the brain.
    """
    if template is None:
        return Figure(TEMPLATE, "", None, 0.80, None, "template", "needs a template; give one with --template FILE")
    brain = atlas.brain_mask(BASE)
    return Figure(TEMPLATE, "", float(np.corrcoef(mean[brain], template[brain])[0, 1]), 0.80, None, "template")
