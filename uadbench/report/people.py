"""What a report says of the people: whose scans they are, how scores differ between sites, what others have altered."""

from __future__ import annotations

import pandas as pd

from uadbench.metrics.catalogue import heading_of, metric_of
from uadbench.report.exhibit import Exhibit
from uadbench.report.words import bounded, number, percent
from uadbench.results.schema import CohortCard, Result


def about(cohort: CohortCard) -> list[str]:
    """What is out of the ordinary about the people of a result, a sentence each."""
    told = []
    if cohort.tested_on is not None:
        told.append(f"Trained on {cohort.name}, tested on {cohort.tested_on} (version {cohort.tested_version}).")
    if cohort.origin == "scaled":
        told.append("The cohort has fewer people than the protocol asks for; they were divided in its proportions.")
    if cohort.origin == "given":
        told.append("Who trains, validates and tests was given as a list.")
    if cohort.shared_images:
        told.append(
            f"{cohort.shared_images} test scans are, voxel by voxel, scans that the model learnt from: too good."
        )
    return told


def strata_rows(result: Result) -> list[dict[str, str]]:
    """A row a site, scanner or amyloid status."""
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
    """A row a test set of altered scans that another tool has written."""
    rows = []
    for name, severity in result.given:
        found = result.detected(name, severity)
        values = {metric_of(m).label: number(result.metric(name, severity, m)) for m in GIVEN_METRICS}
        rows.append(
            {
                "": name,
                "severity": percent(severity),
                **values,
                f"{heading_of('detection.testsets.auroc')} [95 %]": "n/a" if found is None else bounded(found.auroc),
            }
        )
    return rows


GIVEN_METRICS = ("ap.standard", "ap.native", "prevalence", "restoration.whole.mse")


def people_exhibits(result: Result) -> list[Exhibit]:
    """Scores by stratum, and on given test sets, where there are any."""
    exhibits = []
    if result.strata:
        exhibits.append(
            Exhibit(
                "strata",
                "Sites, scanners, amyloid status",
                "Ranking AP and error on healthy scans of the test participants by where and how they were scanned; "
                f"{metric_of('detection.specificity').label}: {metric_of('detection.specificity').help}. "
                "Few participants make wide intervals, or none.",
                of_paper=False,
                table=pd.DataFrame(strata_rows(result)),
            )
        )
    if result.given:
        exhibits.append(
            Exhibit(
                "given",
                "Altered scans of another tool",
                "Test sets that were read from files (--simulated); what is to be found follows from the files and "
                "the protocol's thresholds. They do not enter the ranking.",
                of_paper=False,
                table=pd.DataFrame(given_rows(result)),
            )
        )
    return exhibits
