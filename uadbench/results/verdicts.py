"""Paired tests of every model against the z-score, and rank intervals, over participants and all runs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.stats.paired import Comparison, compare_paired, holm, least_p, rank_intervals, tie_groups

BASELINE = "zscore"


@dataclass(frozen=True)
class Verdict:
    """The comparison of a model with the z-score.

    Attributes:
        model: Name of the model.
        comparison: The paired comparison of the two.
        p: Holm-adjusted over all comparisons of a table.
        tests: Number of these comparisons.
    """

    model: str
    comparison: Comparison
    p: float | None
    tests: int = 1

    @property
    def word(self) -> str:
        """The outcome: "beats", "is worse than" or "does not differ significantly from"."""
        if not self.comparison.decided(self.p):
            return "does not differ significantly from"
        return "beats" if (self.comparison.difference.mean or 0.0) > 0 else "is worse than"

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        named = {"model": self.model, "baseline": BASELINE, "word": self.word}
        tested = {"p": self.p, "p_alone": self.comparison.p, "p_least": least_p(self.comparison.moved, self.tests)}
        return {**named, **asdict(self.comparison), **tested}


@dataclass(frozen=True)
class RankedModel:
    """The rank of a model.

    Attributes:
        model: Name of the model.
        group: Number of its group, whose members do not differ significantly from the best of the group.
        ranks: Lowest and highest rank (95 %).
    """

    model: str
    group: int
    ranks: tuple[int, int]


def ranking_of(results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[ModelScores]:
    """The ranking AP of every model, from results and their tables of one row per case."""
    pairs = zip(results, tables, strict=True)
    return gather(results, [ranking_scores(table, result.headline.severities) for result, table in pairs])


def gather(results: Sequence[Result], scores: Sequence[pd.Series[float]]) -> list[ModelScores]:
    """Group runs by model; `scores` are by participant, and are aligned to those of the first run."""
    runs = [(result, own.reindex(scores[0].index)) for result, own in zip(results, scores, strict=True)]
    return [
        ModelScores.of(name, {(result.seed, result.fold): own for result, own in group})
        for name, group in by_model(runs, lambda run: run[0]).items()
    ]


def verdicts(models: Sequence[ModelScores]) -> list[Verdict]:
    """Compare each model with the z-score; empty if the z-score is not among the models."""
    baseline = next((model for model in models if model.name == BASELINE), None)
    if baseline is None:
        return []
    others = [model for model in models if model is not baseline]
    compared = [compare_paired(model.values, baseline.values) for model in others]
    adjusted = holm([comparison.p for comparison in compared])
    tests = sum(p is not None for p in adjusted)
    return [Verdict(m.name, comparison, p, tests) for m, comparison, p in zip(others, compared, adjusted, strict=True)]


def ranked_models(models: Sequence[ModelScores]) -> list[RankedModel]:
    """The ranks of the models, best first."""
    if not models:
        return []
    scores = [model.values for model in models]
    ranked = zip(models, tie_groups(scores), rank_intervals(scores), strict=True)
    best_first = sorted(ranked, key=lambda row: -float(np.nanmean(row[0].values)))
    return [RankedModel(model.name, group, ranks) for model, group, ranks in best_first]
