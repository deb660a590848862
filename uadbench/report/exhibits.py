"""The exhibits of a result, in the order of the report: first those of the paper, then others."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from uadbench.metrics.catalogue import explained, heading_of, metric_of
from uadbench.report import brains, charts, replica
from uadbench.report.exhibit import Exhibit
from uadbench.report.figures import training_figure
from uadbench.report.people import people_exhibits
from uadbench.report.robustness import robustness_exhibits
from uadbench.report.viewer import case_viewer
from uadbench.report.words import NOT_AVAILABLE, bounded, near, number, percent, share
from uadbench.results.examples import Examples
from uadbench.results.near_ideal import near_ideal
from uadbench.results.schema import Result
from uadbench.types import HEALTHY, HYPER, PATIENTS, UNSEEN, VARIED

RESTORED = (
    *("recovered", "damage", "identified"),
    *(f"healthiness.{image}" for image in ("healthy", "altered", "from_healthy", "from_altered")),
)


def exhibits(result: Result, scores: pd.DataFrame, examples: Examples | None) -> Iterator[Exhibit]:
    """Yield all exhibits of a result; those that need a reconstruction are left out if the model gives none."""
    reconstructs = result.model.reconstructs
    if reconstructs:
        if any(response.paper for response in result.detection.severities if response.anomaly == result.dementias[0]):
            yield replica.figure_1(result, scores)
        yield replica.table_1(result)
        yield replica.consistency(result)
        yield replica.table_2(result)
    if examples is not None:
        yield replica.figure_2(result, examples)
        yield _viewer(result, examples)
    yield _precision(result, scores)
    yield _findings(result)
    if reconstructs:
        yield _restoration(result)
        yield Exhibit(
            "response",
            "Reduction-response and healthiness",
            "Left: how much of the removed uptake the reconstruction restores; a model that recognises the disease is "
            "on the dashed line, the identity at 0. Right: uptake inside the mask divided by uptake outside, relative "
            "to the same participant's healthy scan (Hassanaly 2024); bands: 95 % over participants.",
            of_paper=False,
            draw=lambda: charts.response_chart(result, scores),
        )
    yield _detection(result, scores)
    if result.detection.patients:
        yield _patients(result)
    yield _detectable(result)
    yield from robustness_exhibits(result)
    yield from people_exhibits(result)
    if result.training:
        yield Exhibit(
            "training",
            "Training curve",
            f"{result.training.epochs} epochs, {result.cost.train_seconds:.0f} s.",
            of_paper=False,
            draw=lambda: training_figure(result),
        )
    if examples is not None and any(label.startswith("worst") for label in examples.volumes):
        yield Exhibit(
            "worst",
            "The five worst cases",
            "Lowest average precision of the standard map near 30 %, at most one per participant. Blue outline: the "
            "truth. Colour: the standard map, in SD of healthy scans.",
            of_paper=False,
            draw=lambda: brains.worst_figure(examples),
            raster=True,
        )


def _viewer(result: Result, examples: Examples) -> Exhibit:
    thresholds = result.detection.voxel_thresholds
    highest = max(thresholds, key=lambda each: each.false_positive_rate, default=None)
    mark = ""
    if highest is not None:
        rate = f"{highest.false_positive_rate:.0%}"
        mark = f" The mark on the slider is the threshold that {rate} of healthy validation voxels exceed."
    return Exhibit(
        "viewer",
        f"Viewer: {examples.titles['case']}",
        f"One test scan with and without the simulated lesion. Images are on the intensity scale of the model; the map "
        f"is the standard map, in SD of healthy scans.{mark}",
        of_paper=False,
        view=lambda: case_viewer(examples, None if highest is None else highest.value),
    )


def _precision(result: Result, scores: pd.DataFrame) -> Exhibit:
    names, rows, reference = [*result.dementias, UNSEEN], [], near_ideal(result)
    for metric in ("ap.standard", "normalised_ap", "effective_reduction"):
        shown = share if metric == "effective_reduction" else number
        for name in names:
            row = {"": name, "severity": heading_of(metric)}
            row |= {percent(s): shown(result.metric(name, s, metric)) for s in result.severities}
            chance = number(result.metric(name, result.severities[0], "prevalence"))
            row[heading_of("prevalence")] = chance if metric == "ap.standard" else ""
            rows.append(row)
            if metric == "ap.standard" and reference:
                found = {percent(s): number(reference.at(name, s)) for s in result.severities}
                rows.append({"": name, "severity": reference.label, **found, heading_of("prevalence"): ""})
    head = result.headline
    bounds = "" if head.ap_interval is None else " [{:.3f}, {:.3f}]".format(*head.ap_interval)
    others = []
    for name in (VARIED, HYPER):
        for scored in result.scores:
            if scored.anomaly == name:
                others.append(
                    f"{name} {number(result.metric(name, scored.severity, 'ap.standard'))} "
                    f"(chance {number(result.metric(name, scored.severity, 'prevalence'))})"
                )
    return Exhibit(
        "precision",
        "Average precision against severity",
        f"Ranking AP {number(head.ap_standard)}{bounds}: the mean of dementias ({number(head.ap_dementias)}) and "
        f"unseen blobs ({number(head.ap_unseen)}) at "
        f"{', '.join(f'{s:.0%}' for s in head.severities)}. Native map {number(head.ap_native)}, chance "
        f"{number(head.prevalence)}{f', {reference}' if reference else ''}. Table: standard map. "
        f"{explained('normalised_ap', 'effective_reduction')} Other test sets: {', '.join(others)}. In "
        "hyper uptake is increased, and a one-sided map should score below chance."
        f"{f' {reference.meaning}' if reference else ''}",
        of_paper=False,
        table=pd.DataFrame(rows),
        draw=lambda: charts.precision_chart(result, scores),
    )


def _effective(result: Result, name: str, severity: float | None) -> dict[str, str]:
    """The effective reduction of a test set, as a cell beside the severity; empty where nothing is reduced."""
    value = result.metric(name, severity, "effective_reduction")
    return {heading_of("effective_reduction"): "" if value is None else share(value)}


def _findings(result: Result) -> Exhibit:
    at = near(result, 0.3)
    rates = [f"fpr{threshold.false_positive_rate:g}" for threshold in result.detection.voxel_thresholds]
    metrics = [f"{what}.{rate}" for rate in rates for what in ("recall", "dice")]
    metrics += ["dice.oracle", "auroc.standard", "correlation.standard"]
    rows = []
    for name, severity in [*((d, at) for d in result.dementias), (UNSEEN, at), (VARIED, None)]:
        row = {"": name, "severity": percent(severity), **_effective(result, name, severity)}
        rows.append(row | {heading_of(m): number(result.metric(name, severity, m)) for m in metrics})
    thresholds = "; ".join(
        f"{t.false_positive_rate:g}: above {t.value:.2f} SD [{t.low:.2f}, {t.high:.2f}], on healthy test scans "
        f"{number(result.metric(HEALTHY, 0.0, f'exceeding.fpr{t.false_positive_rate:g}'))}"
        for t in result.detection.voxel_thresholds
    )
    return Exhibit(
        "findings",
        "Voxels detected at thresholds set on healthy scans",
        f"Standard map, per case. Thresholds are set on {result.detection.validation_scans} healthy validation scans "
        f"by false positive rate ({thresholds}). {explained('dice.oracle', 'auroc.standard', 'correlation.standard')}",
        of_paper=False,
        table=pd.DataFrame(rows),
    )


def _restoration(result: Result) -> Exhibit:
    at = near(result, 0.3)
    rows = []
    for name in [*result.dementias, UNSEEN]:
        rows.append(
            {"": name}
            | _effective(result, name, at)
            | {heading_of(metric): number(result.metric(name, at, metric)) for metric in RESTORED}
        )
    return Exhibit(
        "restoration",
        f"Recovery, damage, identity, healthiness, {at:.0%}",
        explained(*RESTORED[:3], RESTORED[-1]),
        of_paper=False,
        table=pd.DataFrame(rows),
    )


def _detection(result: Result, scores: pd.DataFrame) -> Exhibit:
    rows = [
        {
            "": testset.anomaly,
            "severity": percent(testset.severity) if testset.anomaly != PATIENTS else "",
            **_effective(result, testset.anomaly, testset.severity),
            f"{heading_of('detection.testsets.auroc')} [95 %]": bounded(testset.auroc),
            f"{heading_of('detection.testsets.sensitivity')} [95 %]": bounded(testset.sensitivity),
            f"{heading_of('detection.testsets.matched')} [95 %]": bounded(testset.matched),
        }
        for testset in result.detection.testsets
    ]
    detection = result.detection
    if detection.threshold is None:
        threshold = f"Sensitivity is n/a: {detection.validation_scans} validation scans are too few for a threshold."
    else:
        low, high = detection.specificity_bounds or (0.0, 1.0)
        threshold = (
            f"The threshold is set on {detection.validation_scans} validation scans (true specificity {low:.3f} to "
            f"{high:.3f} with 95 % confidence); on healthy test scans it is {bounded(detection.specificity)}."
        )
    clinical = (
        f" Spearman's correlation of the score with the patients' MMSE: {bounded(detection.clinical)}, "
        f"n = {detection.clinical_patients}."
    )
    leak = (
        " If intensities are scaled by each scan's own maximum, that maximum reveals altered scans: compare with the "
        "model maxcheck."
    )
    return Exhibit(
        "detection",
        "Detection of altered scans",
        f"{explained('subject.score', 'detection.testsets.auroc', 'detection.testsets.matched')} {threshold}{clinical}"
        f"{leak}",
        of_paper=False,
        table=pd.DataFrame(rows),
        draw=lambda: charts.detection_chart(result, scores),
    )


def _patients(result: Result) -> Exhibit:
    rows = [
        {
            "": group.group,
            "patients": str(group.patients),
            f"{heading_of('detection.testsets.auroc')} [95 %]": bounded(group.auroc),
            f"{heading_of('detection.testsets.sensitivity')} [95 %]": bounded(group.sensitivity),
            f"{heading_of('detection.testsets.matched')} [95 %]": bounded(group.matched),
            f"{metric_of('detection.clinical').label} [95 %]": bounded(group.clinical),
            "with MMSE": str(group.clinical_patients),
        }
        for group in result.detection.patients
    ]
    return Exhibit(
        "patients",
        "Patients by diagnosis",
        f"Scan scores of patients against those of healthy test scans. {explained('detection.clinical')}",
        of_paper=False,
        table=pd.DataFrame(rows),
    )


def _detectable(result: Result) -> Exhibit:
    never = NOT_AVAILABLE if result.detection.threshold is None else "none of those tested"
    rows = [
        {
            "": response.anomaly,
            metric_of("detection.severities.minimum_detectable").label: never
            if response.minimum_detectable is None
            else percent(response.minimum_detectable),
            **_effective(result, response.anomaly, response.minimum_detectable),
            metric_of("detection.severities.monotonicity").label: bounded(response.monotonicity),
        }
        for response in result.detection.severities
    ]
    return Exhibit(
        "detectable",
        "Minimum detectable severity",
        explained("detection.severities.minimum_detectable", "detection.severities.monotonicity"),
        of_paper=False,
        table=pd.DataFrame(rows),
    )
