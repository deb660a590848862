"""The paper's five exhibits for any model, with the paper's numbers for comparison."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from uadbench.metrics.catalogue import heading_of, metric_of
from uadbench.report import brains, charts, paper
from uadbench.report.exhibit import Exhibit
from uadbench.report.words import near, number, percent
from uadbench.results.examples import Examples
from uadbench.results.schema import Result
from uadbench.types import HEALTHY, PATIENTS

UNITS = (
    "MSE, MAE and PSNR depend on the intensity scale and include the background: they are comparable with the paper's "
    "only with its scale, grid and cohort."
)
PAPER_TESTS = "detection.severities.paper"


def figure_1(result: Result, scores: pd.DataFrame) -> Exhibit:
    """MSE against severity, with both t-tests that the paper may have used."""
    anomaly = result.dementias[0]
    (response,) = [r for r in result.detection.severities if r.anomaly == anomaly]
    count = len(result.severities)

    def first(name: str) -> str:
        severities = [t.severity for t in response.paper if paper.is_significant(t, getattr(t, name), count)]
        return f"{min(severities):.0%}" if severities else "never"

    table = pd.DataFrame(
        {
            "severity": [percent(t.severity) for t in response.paper],
            heading_of(f"{PAPER_TESTS}.ratio"): [number(t.ratio) for t in response.paper],
            heading_of(f"{PAPER_TESTS}.p_unpaired"): [number(t.p_unpaired, 2) for t in response.paper],
            heading_of(f"{PAPER_TESTS}.p_paired"): [number(t.p_paired, 2) for t in response.paper],
        }
    )
    return Exhibit(
        "figure1",
        f"Figure 1: reconstruction error against severity ({anomaly})",
        f"MSE(x̂', x') divided by the mean MSE(x̂, x) of healthy scans. Boxes: quartiles over {result.cohort.test} "
        f"participants; whiskers: 1.5 interquartile ranges. t-test against healthy scans, p < 0.05 / "
        f"{len(result.severities)}: * unpaired (first at {first('p_unpaired')}), † paired (first at "
        f"{first('p_paired')}). The paper does not say which test it used; its first significant severity is "
        f"{paper.FIRST_SIGNIFICANT:.0%}. A significant increase does not imply that single scans can be detected; see "
        "the sensitivity at a fixed specificity below.",
        of_paper=True,
        table=table,
        draw=lambda: charts.residual_chart(result, scores, anomaly),
    )


def table_1(result: Result) -> Exhibit:
    """Reconstructions of altered scans against the healthy originals."""
    at = near(result, 0.3)
    rows = [
        _beside(name, [result.metric(name, at, f"restoration.whole.{m}") for m in paper.METRICS], paper.TABLE_1)
        for name in result.dementias
    ]
    return Exhibit(
        "table1",
        f"Table 1: reconstruction of altered scans against the healthy original, {at:.0%}",
        "(x̂', x) over the whole volume, background included, mean over participants; PSNR in dB. In brackets: the "
        f"paper, at 30 %. {UNITS}",
        of_paper=True,
        table=pd.DataFrame(rows),
    )


def consistency(result: Result) -> Exhibit:
    """Reconstructions of altered scans against those of the healthy originals."""
    at = near(result, 0.3)
    rows = [
        {
            "": name,
            metric_of("consistency.whole.ssim").label: number(result.metric(name, at, "consistency.whole.ssim"), 4),
            metric_of("consistency.whole.mse").label: number(result.metric(name, at, "consistency.whole.mse")),
            "paper, SSIM": number(paper.CONSISTENCY.get(name)) if name in paper.CONSISTENCY else "> 0.99 on average",
        }
        for name in result.dementias
    ]
    return Exhibit(
        "consistency",
        f"Reconstruction consistency, {at:.0%}",
        "Similarity of the reconstructions from the altered and from the healthy scan. Similar is not healthy: a model "
        "that always returns the mean scores 1. It hardly depends on the unit, so it is comparable with the paper's.",
        of_paper=True,
        table=pd.DataFrame(rows),
    )


def table_2(result: Result) -> Exhibit:
    """Reconstructions of patients and of healthy people."""
    labels = {PATIENTS: f"patients (n = {result.cohort.patients})", HEALTHY: f"healthy (n = {result.cohort.test})"}
    rows = [
        _beside(name, [result.metric(name, 0.0, f"residual.whole.{m}") for m in paper.METRICS], paper.TABLE_2, label)
        for name, label in labels.items()
    ]
    note = "" if result.cohort.patients else " The cohort has no patients."
    return Exhibit(
        "table2",
        "Table 2: reconstruction of scans in which nothing is simulated",
        "(x̂, x) over the whole volume, mean over the participants' first scans. In brackets: the paper (311 patients, "
        f"30 healthy participants). {UNITS}{note}",
        of_paper=True,
        table=pd.DataFrame(rows),
    )


def _beside(
    name: str, values: list[float | None], printed: Mapping[str, tuple[float, ...]], label: str = ""
) -> dict[str, str]:
    """A row of our values, with the paper's in brackets."""
    theirs = printed.get(name)
    row = {"": label or name}
    for index, metric in enumerate(paper.METRICS):
        beside = "" if theirs is None else f" ({theirs[index]:g})"
        row[heading_of(f"restoration.whole.{metric}")] = number(values[index]) + beside
    return row


def figure_2(result: Result, examples: Examples) -> Exhibit:
    """Scans, reconstructions and differences in three planes."""
    shown = "reconstruction - input" if result.model.reconstructs else "the standard map (there is no reconstruction)"
    return Exhibit(
        "figure2",
        "Figure 2: scans, reconstructions and differences",
        f"All rows show the same planes, through the middle of the simulated reduction. Colour, in the brain: "
        f"{shown}; red is uptake that the model expects but the scan lacks.",
        of_paper=True,
        draw=lambda: brains.planes_figure(examples),
        raster=True,
    )
