"""Parts of a report about the cohort, scores by site and scanner, and altered scans from other tools."""

from __future__ import annotations

import pandas as pd

from uadbench.metrics.catalogue import heading_of, metric_of
from uadbench.report.exhibit import Exhibit
from uadbench.report.words import bounded, number, percent
from uadbench.results.schema import CohortCard, Result


def about(cohort: CohortCard) -> list[str]:
    """Sentences about unusual properties of a result's cohort."""
    sentences = []
    if cohort.tested_on is not None:
        sentences.append(f"Trained on {cohort.name}, tested on {cohort.tested_on} (version {cohort.tested_version}).")
    if cohort.origin == "scaled":
        sentences.append("The cohort has fewer participants than the protocol requires; the split has its proportions.")
    if cohort.origin == "given":
        sentences.append("Training, validation and test participants were given as a list.")
    if cohort.shared_images:
        sentences.append(
            f"{cohort.shared_images} test scans are identical to training or validation scans, so scores are too high."
        )
    return sentences


def strata_rows(result: Result) -> list[dict[str, str]]:
    """One row per site, scanner or amyloid status."""
    return [
        {
            "": f"{stratum.by} {stratum.value}",
            "participants": str(stratum.participants),
            f"{heading_of('headline.ap_standard')} [95 %]": bounded(stratum.ap_standard),
            heading_of("headline.healthy_mse"): number(stratum.healthy_mse.value),
            f"{heading_of('detection.specificity')} [95 %]": bounded(stratum.specificity),
        }
        for stratum in result.strata
    ]


def given_rows(result: Result) -> list[dict[str, str]]:
    """One row per test set of altered scans from another tool."""
    rows = []
    for name, severity in result.given:
        scored = result.detected(name, severity)
        values = {metric_of(m).label: number(result.metric(name, severity, m)) for m in GIVEN_METRICS}
        rows.append(
            {
                "": name,
                "severity": percent(severity),
                **values,
                f"{heading_of('detection.testsets.auroc')} [95 %]": "n/a" if scored is None else bounded(scored.auroc),
            }
        )
    return rows


GIVEN_METRICS = (
    *("effective_reduction", "ap.standard", "normalised_ap", "ap.native", "prevalence"),
    "restoration.whole.mse",
)


def people_exhibits(result: Result) -> list[Exhibit]:
    """Exhibits of scores by stratum, and on altered scans from another tool, if there are any."""
    exhibits = []
    if result.strata:
        exhibits.append(
            Exhibit(
                "strata",
                "Sites, scanners, amyloid status",
                "Ranking AP and reconstruction error on healthy scans, by site, scanner and amyloid status of the test "
                f"participants; {metric_of('detection.specificity').label}: {metric_of('detection.specificity').help}. "
                "With few participants, intervals are wide or n/a.",
                of_paper=False,
                table=pd.DataFrame(strata_rows(result)),
            )
        )
    if result.given:
        exhibits.append(
            Exhibit(
                "given",
                "Altered scans from another tool",
                "Test sets that were read from files (--simulated); their ground truth follows from the files and the "
                "protocol's thresholds. They do not count for the ranking.",
                of_paper=False,
                table=pd.DataFrame(given_rows(result)),
            )
        )
    return exhibits
