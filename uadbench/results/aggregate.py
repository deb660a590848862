"""Aggregation of per-case scores into the ranking, detection and severity metrics of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from uadbench.cohorts.base import STRATA
from uadbench.metrics.scan_score import SubjectThreshold, Threshold, subject_threshold
from uadbench.protocols.schema import Protocol
from uadbench.results.bias import bias
from uadbench.results.robustness import robustness
from uadbench.results.schema import (
    Bias,
    Bounded,
    DetectedTestSet,
    Detection,
    Headline,
    PaperTest,
    PatientGroup,
    Robustness,
    SeverityResponse,
    Stratum,
    TestSetScores,
    VoxelThreshold,
    rounded,
)
from uadbench.results.scores import by_testset, ranking_scores, score_hash, summarise
from uadbench.stats.bootstrap import Interval, mean_intervals, share_interval
from uadbench.stats.detection import (
    Cutoff,
    auroc_among,
    auroc_between,
    cutoff,
    matched_cutoff,
    rank_correlation,
    share_above,
    share_above_others,
)
from uadbench.types import AUDIT, HEALTHY, PATIENTS, SHIFTED, UNSEEN, VALIDATION, Values, is_dementia

SCORE = "subject.score"
RESIDUAL = "residual.whole.mse"
REVISION = 3
"""Increase it whenever the same scores would lead to other aggregates."""

DETECTED = 0.5
"""Sensitivity whose lower bound makes a severity detectable."""

CLINICAL = "mmse"


@dataclass(frozen=True)
class Aggregates:
    """Every part of a result that follows from its case scores."""

    headline: Headline
    detection: Detection
    strata: list[Stratum]
    robustness: Robustness | None
    bias: Bias | None
    scores: list[TestSetScores]
    score_hash: str


def aggregates(
    table: pd.DataFrame,
    protocol: Protocol,
    validation_mse: float | None,
    voxel_thresholds: Mapping[float, Threshold],
) -> Aggregates:
    """Compute every part of a result that follows from its case scores.

    Args:
        table: One row per case.
        protocol: The protocol of the result.
        validation_mse: The model's MSE on healthy validation scans, if it reconstructs.
        voxel_thresholds: False positive rate -> threshold of the standard map.
    """
    limit = _limit(_scores(table, VALIDATION), protocol)
    threshold = None if limit is None else limit.value
    return Aggregates(
        headline=headline(table, protocol, validation_mse),
        detection=detection(table, protocol, voxel_thresholds),
        strata=strata(table, protocol),
        robustness=robustness(table, threshold),
        bias=bias(table, threshold),
        scores=summarise(table),
        score_hash=score_hash(table),
    )


def headline(table: pd.DataFrame, protocol: Protocol, validation_mse: float | None) -> Headline:
    """Compute the main numbers of a result.

    Args:
        table: One row per case.
        protocol: Defines the severities that count for the ranking.
        validation_mse: The model's MSE on healthy validation scans, if it reconstructs.
    """
    severities = protocol.ranking.severities
    (ranked,) = mean_intervals(_values(ranking_scores(table, severities))[:, None])

    def mean(column: str, halves: str = "both") -> float | None:
        return _number(ranking_scores(table, severities, column, halves).mean(skipna=False))

    overall, low, high = mean("ap.standard"), _number(ranked.low), _number(ranked.high)
    healthy = table[table["anomaly"] == HEALTHY]
    return Headline(
        severities=severities,
        ap_standard=overall,
        ap_interval=None if overall is None or low is None or high is None else (low, high),
        ap_dementias=mean("ap.standard", "dementias"),
        ap_unseen=mean("ap.standard", "unseen"),
        ap_native=mean("ap.native"),
        prevalence=mean("prevalence"),
        healthy_mse=_number(healthy[RESIDUAL].mean()) if RESIDUAL in table else None,
        validation_mse=_number(validation_mse),
    )


def detection(table: pd.DataFrame, protocol: Protocol, voxel_thresholds: Mapping[float, Threshold]) -> Detection:
    """Compute everything about thresholds and severities.

    Args:
        table: One row per case, including healthy scans, validation scans and patients.
        protocol: Defines the specificity, and the number of validation scans that it requires.
        voxel_thresholds: False positive rate -> threshold of the standard map. They are computed from voxels, and so
            cannot be computed from the table.
    """
    validation = _scores(table, VALIDATION)
    healthy = table[table["anomaly"] == HEALTHY].set_index("participant_id")[SCORE].astype(np.float64).sort_index()
    limit = _limit(validation, protocol)
    above = None if limit is None else cutoff(validation, limit.rank)
    testsets = [
        _detected(anomaly, severity, rows, healthy, above, protocol)
        for (anomaly, severity), rows in by_testset(table)
        if anomaly not in (HEALTHY, VALIDATION, AUDIT) and not anomaly.startswith(SHIFTED)
    ]
    ill = table[table["anomaly"] == PATIENTS]
    clinical, clinical_patients = _clinical(ill)
    graded = [name for name in dict.fromkeys(table["anomaly"]) if is_dementia(name) or name == UNSEEN]
    return Detection(
        voxel_thresholds=[
            VoxelThreshold(false_positive_rate=rate, **{k: rounded(v) for k, v in vars(threshold).items()})
            for rate, threshold in voxel_thresholds.items()
        ],
        validation_scans=len(validation),
        threshold=None if limit is None else rounded(limit.value),
        specificity_bounds=None if limit is None else (rounded(limit.specificity_low), rounded(limit.specificity_high)),
        specificity=_bounded(
            share_interval(float((healthy <= limit.value).mean()), len(healthy)) if limit else _NOTHING
        ),
        testsets=testsets,
        severities=[_response(name, table, healthy, testsets) for name in graded],
        clinical=clinical,
        clinical_patients=clinical_patients,
        patients=_patient_groups(ill, healthy, above, protocol),
    )


def _patient_groups(
    ill: pd.DataFrame, healthy: pd.Series[float], limit: Cutoff | None, protocol: Protocol
) -> list[PatientGroup]:
    """The patients of each diagnosis; none if the table does not contain the diagnoses."""
    groups = []
    for _, rows in ill.groupby(ill["group"].str.lower()) if len(ill) and "group" in ill else ():
        detected = _detected(PATIENTS, 0.0, rows, healthy, limit, protocol)
        clinical, clinical_patients = _clinical(rows)
        groups.append(
            PatientGroup(
                group=str(rows["group"].mode()[0]),  # a cohort may spell a diagnosis in several ways
                patients=len(rows),
                auroc=detected.auroc,
                sensitivity=detected.sensitivity,
                matched=detected.matched,
                clinical=clinical,
                clinical_patients=clinical_patients,
            )
        )
    return groups


def _clinical(ill: pd.DataFrame) -> tuple[Bounded, int]:
    """The correlation of patients' scan scores with the clinical score, and the number of patients who have one."""
    clinical = _values(ill[CLINICAL])
    return _bounded(rank_correlation(_values(ill[SCORE]), clinical)), int(np.isfinite(clinical).sum())


def strata(table: pd.DataFrame, protocol: Protocol) -> list[Stratum]:
    """Compute the ranking score by site, scanner and amyloid status of the test participants, if these differ."""
    healthy = table[table["anomaly"] == HEALTHY].set_index("participant_id").sort_index()
    ranked = ranking_scores(table, protocol.ranking.severities)
    limit = _limit(_scores(table, VALIDATION), protocol)
    found = []
    for by in STRATA:
        if by not in healthy or healthy[by].replace("", None).nunique() < 2:
            continue
        for value, rows in healthy[healthy[by] != ""].groupby(by, sort=True):
            passed = None if limit is None else float((rows[SCORE] <= limit.value).mean())
            errors = _values(rows[RESIDUAL]) if RESIDUAL in rows else np.full(len(rows), np.nan)
            scores = np.stack([_values(ranked.loc[rows.index]), errors], axis=1)
            precision, error = mean_intervals(scores)
            found.append(
                Stratum(
                    by=by,
                    value=str(value),
                    participants=len(rows),
                    ap_standard=_bounded(precision),
                    healthy_mse=_bounded(error),
                    specificity=_bounded(_NOTHING if passed is None else share_interval(passed, len(rows))),
                )
            )
    return found


def paper_tests(altered: Values, healthy: Values, severities: list[float]) -> list[PaperTest]:
    """The paper's t-tests of MSE against healthy scans at each severity, paired and unpaired.

    Args:
        altered: MSE(x̂', x'), (subjects, severities).
        healthy: MSE(x̂, x), (subjects,), in the same order.
        severities: The severities of the columns of `altered`.
    """
    tests = []
    for column, severity in zip(altered.T, severities, strict=True):
        off = column - healthy
        # a t-test is undefined without variance, as for the identity, whose errors are all 0
        paired = float(stats.ttest_rel(column, healthy).pvalue) if np.ptp(off) > 0 else None
        spread = np.ptp(column) > 0 or np.ptp(healthy) > 0
        unpaired = float(stats.ttest_ind(column, healthy).pvalue) if spread else None
        if healthy.mean() > 0:
            ratio = rounded(float(column.mean() / healthy.mean()))
            tests.append(
                PaperTest(severity=severity, ratio=ratio, p_paired=_number(paired), p_unpaired=_number(unpaired))
            )
    return tests


def monotonicity(scores: Values) -> Interval:
    """Spearman's correlation of score and severity within each subject: the mean over subjects with its interval.

    Args:
        scores: (subjects, severities), with ascending severities. Subjects whose scores are all equal are left out.

    Returns:
        The interval; n/a for fewer than two severities.
    """
    if scores.shape[1] < 2:
        return _NOTHING
    ranks = stats.rankdata(scores, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    steps = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
    with np.errstate(invalid="ignore"):
        rho = ranks @ steps / np.sqrt(np.square(ranks).sum(axis=1) * np.square(steps).sum())
    return mean_intervals(rho[:, None])[0]


_NOTHING = Interval(None, None, None)


def _detected(
    anomaly: str,
    severity: float | None,
    rows: pd.DataFrame,
    healthy: pd.Series[float],
    limit: Cutoff | None,
    protocol: Protocol,
) -> DetectedTestSet:
    rows = rows.sort_values("participant_id", kind="stable")  # resampling is by row number
    people, values = rows["participant_id"].to_numpy(), _values(rows[SCORE])
    by_person = [values[people == person] for person in dict.fromkeys(people)]
    scores = np.stack(by_person)  # (participants, draws)
    specificity = protocol.detection.specificity
    if anomaly == PATIENTS:
        auroc = auroc_between(_values(healthy), scores[:, 0])
        same = matched_cutoff(_values(healthy), specificity)
        matched = _NOTHING if same is None else share_above(scores, same)
    else:
        own = _values(healthy.loc[list(dict.fromkeys(people))])
        auroc, matched = auroc_among(own, scores), share_above_others(own, scores, specificity)
    sensitivity = _NOTHING if limit is None else share_above(scores, limit)
    return DetectedTestSet(
        anomaly=anomaly,
        severity=severity,
        auroc=_bounded(auroc),
        sensitivity=_bounded(sensitivity),
        matched=_bounded(matched),
    )


def _response(
    name: str, table: pd.DataFrame, healthy: pd.Series[float], testsets: list[DetectedTestSet]
) -> SeverityResponse:
    rows = table[table["anomaly"] == name]
    graded = rows.pivot(index="participant_id", columns="severity", values=SCORE)  # severities rise
    tests: list[PaperTest] = []
    if RESIDUAL in table and rows[RESIDUAL].notna().all():
        altered = rows.pivot(index="participant_id", columns="severity", values=RESIDUAL)
        unaltered = table[table["anomaly"] == HEALTHY].set_index("participant_id")[RESIDUAL]
        severities = [float(severity) for severity in altered.columns]
        tests = paper_tests(altered.to_numpy(), unaltered.loc[altered.index].to_numpy(dtype=np.float64), severities)
    return SeverityResponse(
        anomaly=name,
        minimum_detectable=_minimum_detectable([d for d in testsets if d.anomaly == name]),
        monotonicity=_bounded(monotonicity(graded.to_numpy(dtype=np.float64))),
        paper=tests,
    )


def _minimum_detectable(testsets: list[DetectedTestSet]) -> float | None:
    """The lowest severity such that, from there on, every lower bound of the sensitivity reaches DETECTED."""
    lowest = None
    for step in sorted(testsets, key=lambda d: -(d.severity or 0.0)):
        if step.sensitivity.low is None or step.sensitivity.low < DETECTED:
            break
        lowest = step.severity
    return lowest


def _limit(validation: Values, protocol: Protocol) -> SubjectThreshold | None:
    """The score above which a scan counts as altered; None if there are too few validation scans."""
    section = protocol.detection
    return subject_threshold(validation, section.specificity) if len(validation) >= section.least_validation else None


def _scores(table: pd.DataFrame, anomaly: str) -> Values:
    return _values(table.loc[table["anomaly"] == anomaly, SCORE])


def _values(column: pd.Series[float]) -> Values:
    return np.asarray(column, dtype=np.float64)


def _bounded(interval: Interval) -> Bounded:
    return Bounded(value=_number(interval.mean), low=_number(interval.low), high=_number(interval.high))


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else rounded(float(value))
