"""How sure the ranking AP is, and whether a model beats the z-score: intervals and paired tests over participants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uadbench.results import Result, ranking_scores, read_scores
from uadbench.statistics import Comparison, Interval, compare_paired, holm, mean_intervals

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.cells import Outcome

BASELINE = "zscore"
SIGNIFICANT = 0.05


def rankings(outcomes: Sequence[Outcome]) -> list[pd.Series[float]]:
    """The ranking AP of every test participant, for each result."""
    return [ranking_scores(read_scores(o.folder), o.result.headline.severities) for o in outcomes]


def intervals(scores: Sequence[pd.Series[float]]) -> list[Interval]:
    """The 95 % interval of each result's ranking AP; all resample participants alike."""
    return [mean_intervals(np.asarray(one, dtype=np.float64)[:, None])[0] for one in scores]


def verdicts(results: Sequence[Result], scores: Sequence[pd.Series[float]]) -> list[str]:
    """One line a model: does it beat the z-score of its fold and seed? Holm-adjusted over the lines."""
    baselines = {(r.fold, r.seed): s for r, s in zip(results, scores, strict=True) if r.model.name == BASELINE}
    compared: list[tuple[str, Comparison]] = []
    for result, own in zip(results, scores, strict=True):
        beside = baselines.get((result.fold, result.seed))
        if result.model.name == BASELINE or beside is None:
            continue
        name = result.model.name + (f" f{result.fold} s{result.seed}" if len(baselines) > 1 else "")
        compared.append(
            (name, compare_paired(np.asarray(own, np.float64), np.asarray(beside.loc[own.index], np.float64)))
        )
    adjusted = holm([comparison.p for _, comparison in compared])
    return [_verdict(name, comparison, p) for (name, comparison), p in zip(compared, adjusted, strict=True)]


def _verdict(name: str, comparison: Comparison, p: float | None) -> str:
    off = comparison.difference
    if p is None or off.mean is None or off.low is None:
        return f"{name}: cannot be compared with {BASELINE} (no participant differs)"
    decided = p < SIGNIFICANT
    word = "cannot be told apart from" if not decided else "beats" if off.mean > 0 else "is worse than"
    probability = "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")
    shares = f"higher for {comparison.prefer_a} of {comparison.subjects} participants"
    return f"{name} {word} {BASELINE}: {off.mean:+.3f} [{off.low:+.3f}, {off.high:+.3f}], {probability}, {shares}"
