"""Charts of scores against severity: the paper's Figure 1, average precision, response and detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from uadbench.report import paper
from uadbench.report.figures import new_figure
from uadbench.report.words import effective_share, share
from uadbench.results.near_ideal import near_ideal
from uadbench.results.schema import Result
from uadbench.stats.bootstrap import mean_intervals
from uadbench.types import HEALTHY, UNSEEN, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Colours of Okabe and Ito, which colour-blind readers can distinguish; black is for `unseen`."""


def residual_chart(result: Result, scores: pd.DataFrame, anomaly: str) -> Figure:
    """Draw the paper's Figure 1: MSE(x̂', x') divided by the mean MSE(x̂, x), one box over participants per severity."""
    metric = "residual.whole.mse"
    healthy = scores.loc[scores["anomaly"] == HEALTHY, metric]
    rows = scores[scores["anomaly"] == anomaly]
    boxes = [healthy / healthy.mean()]
    boxes += [rows.loc[rows["severity"] == s, metric] / healthy.mean() for s in result.severities]
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    axes.boxplot(boxes, widths=0.6, showfliers=False, medianprops={"color": COLOURS[0]})
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    tests = {test.severity: test for r in result.detection.severities if r.anomaly == anomaly for test in r.paper}
    for position, severity in enumerate(result.severities, start=2):
        box = boxes[position - 1]
        quartiles = box.quantile([0.25, 0.75])
        top = float(box[box <= quartiles[0.75] + 1.5 * (quartiles[0.75] - quartiles[0.25])].max())  # of the whisker
        test = tests[severity]
        marks = (("*", test.p_unpaired), ("†", test.p_paired))
        stars = "".join(mark for mark, p in marks if paper.is_significant(test, p, len(result.severities)))
        axes.annotate(stars, (position, top), xytext=(0, 4), textcoords="offset points", ha="center")
    effective = [share(result.metric(anomaly, severity, "effective_reduction")) for severity in result.severities]
    names = [f"{severity:.0%}\n({reduction})" for severity, reduction in zip(result.severities, effective, strict=True)]
    axes.set_xticks(range(1, len(boxes) + 1), ["healthy", *names])
    axes.set(xlabel=f"severity ({anomaly}); in brackets: effective reduction", ylabel="MSE(x̂', x') / mean MSE(x̂, x)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.08 * (high - low))  # room for the marks
    return figure


def precision_chart(result: Result, scores: pd.DataFrame) -> Figure:
    """Draw average precision by severity for every dementia and `unseen`, with 95 % bands, chance and near-ideal."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, metric, title in ((left, "ap.standard", "standard map (ranks)"), (right, "ap.native", "native map")):
        _lines(axes, scores, [*result.dementias, UNSEEN], scores[metric])
        axes.set(title=title, xlabel="severity [%]", ylim=(0, 1.02))
        chance = np.mean([result.metric(a, result.severities[0], "prevalence") or 0.0 for a in result.dementias])
        axes.axhline(float(chance), color="0.5", linestyle=":", linewidth=1, label="chance, mean of dementias")
        if axes is left and (reference := near_ideal(result)):
            bound = [np.mean([reference.at(a, s) or 0.0 for a in result.dementias]) for s in result.severities]
            label = f"{reference.label}, mean of dementias"
            axes.plot(
                [100 * s for s in result.severities], bound, color="0.5", linestyle="--", linewidth=1, label=label
            )
        _effective_axis(axes, result)
    left.set_ylabel("average precision")
    left.legend(fontsize=7)
    return figure


def response_chart(result: Result, scores: pd.DataFrame) -> Figure:
    """Draw the uptake that the reconstruction restores against the uptake removed, and the healthiness."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    names = [*result.dementias, UNSEEN]
    for name, colour in zip(names, _colours(names), strict=True):
        rows = scores[scores["anomaly"] == name]
        restored = (rows["recovered"] * rows["effective_reduction"]).groupby(rows["severity"]).mean()
        removed = rows.groupby("severity")["effective_reduction"].mean()
        left.plot(100 * removed, 100 * restored, marker="o", markersize=3, color=colour, label=name)
    limit = 100 * float(scores.loc[scores["anomaly"].isin(names), "effective_reduction"].max())
    left.plot([0, limit], [0, limit], color="0.5", linestyle="--", linewidth=1, label="all of it")
    left.set(xlabel="uptake removed in the ground truth [%]", ylabel="uptake restored, (x̂' - x') / x [%]")
    left.legend(fontsize=7)
    for image, style in (("altered", ":"), ("from_altered", "-")):
        _lines(
            right,
            scores,
            names,
            scores[f"healthiness.{image}"] / scores["healthiness.healthy"],
            style=style,
            label=image == "from_altered",
        )
    right.axhline(1, color="0.5", linestyle="--", linewidth=1)
    right.set(xlabel="severity [%]", ylabel="healthiness, relative to the healthy scan")
    right.set_title("solid: reconstruction x̂', dotted: altered scan x'", fontsize=9)
    _effective_axis(right, result)
    return figure


def detection_chart(result: Result, scores: pd.DataFrame) -> Figure:
    """Draw AUROC against other participants' healthy scans, and sensitivity at the specificity set on validation."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    names = [*result.dementias, UNSEEN]
    for name, colour in zip(names, _colours(names), strict=True):
        testsets = [result.detected(name, severity) for severity in result.severities]
        for axes, bounded in (
            (left, [None if t is None else t.auroc for t in testsets]),
            (right, [None if t is None else t.sensitivity for t in testsets]),
        ):
            percent = [100 * s for s in result.severities]
            values, lows, highs = (
                [np.nan if b is None or getattr(b, k) is None else getattr(b, k) for b in bounded]
                for k in ("value", "low", "high")
            )
            axes.plot(percent, values, marker="o", markersize=3, color=colour, label=name)
            axes.fill_between(percent, lows, highs, color=colour, alpha=0.12, linewidth=0)
    left.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
    right.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
    left.set(xlabel="severity [%]", ylabel="AUROC against others' healthy scans")
    right.set(xlabel="severity [%]", ylabel="sensitivity", ylim=(-0.02, 1.02))
    for axes in (left, right):
        _effective_axis(axes, result)
    if result.detection.threshold is None:
        right.text(
            0.5,
            0.6,
            f"n/a: {result.detection.validation_scans} validation scans are too few",
            transform=right.transAxes,
            ha="center",
        )
    left.legend(fontsize=7)
    return figure


def _effective_axis(axes: Any, result: Result) -> None:
    """Add the effective reduction as a second axis at the top: it is proportional to the severity."""
    scale = effective_share(result, result.dementias)
    if scale is None:  # a result of a version that did not store it
        return
    top = axes.secondary_xaxis("top", functions=(lambda percent: scale * percent, lambda percent: percent / scale))
    top.set_xlabel("effective reduction, mean of dementias [%]", fontsize=8)
    top.tick_params(labelsize=7)


def _lines(
    axes: Any,
    scores: pd.DataFrame,
    names: Sequence[str],
    values: pd.Series[float],
    style: str = "-",
    label: bool = True,
) -> None:
    """Draw the mean over participants by severity with its 95 % band, one line per test set."""
    for name, colour in zip(names, _colours(names), strict=True):
        rows = scores.assign(value=values)[scores["anomaly"] == name]
        graded = rows.pivot(index="participant_id", columns="severity", values="value")
        intervals = mean_intervals(graded.to_numpy(dtype=np.float64))
        percent = 100 * graded.columns.to_numpy(dtype=np.float64)
        means, lows, highs = (
            _numbers([getattr(interval, part) for interval in intervals]) for part in ("mean", "low", "high")
        )
        axes.plot(percent, means, style, marker="o", markersize=3, color=colour, label=name if label else None)
        axes.fill_between(percent, lows, highs, color=colour, alpha=0.12, linewidth=0)


def _numbers(values: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _colours(names: Sequence[str]) -> list[str]:
    return [COLOURS[-1] if name == UNSEEN else COLOURS[k % (len(COLOURS) - 1)] for k, name in enumerate(names)]
