"""Stability of the order of models: Kendall's tau between the ranking AP and other scores of the same runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.types import UNSEEN

COLUMNS = ("ap.standard", "ap.native", "normalised_ap", "auroc.standard")
"""Columns of the tables of cases that the alternatives need."""

RANKING = "ranking AP"
NAMED = {
    "native map": ("ap.native", "both"),
    "dementias only": ("ap.standard", "dementias"),
    "unseen only": ("ap.standard", "unseen"),
    "AP above chance": ("normalised_ap", "both"),
    "voxelwise AUROC": ("auroc.standard", "both"),
}
"""Alternative -> its column and halves; the severities are those of the ranking."""

FEWEST = 3
"""The smallest number of models whose order is compared."""


@dataclass(frozen=True)
class Alternative:
    """Another way of scoring the models of a board.

    Attributes:
        name: What is scored.
        tau: Kendall's tau-b between its order and that of the ranking AP.
        first: The model that would be first.
    """

    name: str
    tau: float
    first: str


def alternative_scores(result: Result, table: pd.DataFrame) -> dict[str, float]:
    """Score one run in every way.

    Args:
        result: The result.
        table: Its table of cases.

    Returns:
        Alternative -> score; NaN where the run has none. The first is the ranking AP itself.
    """
    severities = result.headline.severities
    scores = {RANKING: _mean(ranking_scores(table, severities))}
    scores |= {
        name: _mean(ranking_scores(table, severities, column, halves)) for name, (column, halves) in NAMED.items()
    }
    for severity in result.severities:
        scores[f"severity {severity:.0%} only"] = _mean(ranking_scores(table, (severity,)))
    for severity in severities:
        scores[f"scans found at {severity:.0%}"] = _matched(result, severity)
    return scores


def over_trainings(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average the scores of a model over its runs; empty without runs."""
    return {name: float(np.mean([each.get(name, np.nan) for each in runs])) for name in (runs[0] if runs else ())}


def stability(models: Mapping[str, Mapping[str, float]]) -> list[Alternative]:
    """Compare the order under each alternative with that of the ranking AP.

    Args:
        models: Model -> its scores, from `over_trainings`.

    Returns:
        The alternatives, each over the models that have such a score, if these are at least three with different ones.
    """
    found = []
    for name in dict.fromkeys(key for scores in models.values() for key in scores if key != RANKING):
        pairs = {model: (scores[RANKING], scores.get(name, np.nan)) for model, scores in models.items()}
        pairs = {model: pair for model, pair in pairs.items() if np.isfinite(pair).all()}
        if len(pairs) < FEWEST:
            continue
        tau = float(stats.kendalltau(*zip(*pairs.values(), strict=True)).statistic)
        if np.isfinite(tau):
            first = max(pairs, key=lambda model: pairs[model][1])
            found.append(Alternative(name, tau, first))
    return found


def _mean(scores: pd.Series[float]) -> float:
    return float(scores.mean(skipna=False))


def _matched(result: Result, severity: float) -> float:
    """The sensitivity at matched specificity, half over dementias and half over `unseen`, as the ranking AP."""
    unseen = result.detected(UNSEEN, severity)
    halves = [result.matched(severity), None if unseen is None else unseen.matched.value]
    return float(np.mean([np.nan if half is None else half for half in halves]))
