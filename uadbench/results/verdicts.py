"""Comparison of every model with the z-score, and ranks, over participants and all runs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from uadbench.results.failed import failures
from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.stats.paired import Comparison, Contrasts, contrasts, significant

BASELINE = "zscore"


@dataclass(frozen=True)
class Verdict:
    """The comparison of a model with the z-score.

    Attributes:
        model: Name of the model.
        comparison: The paired comparison of the two.
        p: Holm-adjusted over all pairs of models.
    """

    model: str
    comparison: Comparison
    p: float | None

    @property
    def word(self) -> str:
        """The outcome: "beats", "is worse than" or "does not differ significantly from"."""
        if not significant(self.p):
            return "does not differ significantly from"
        return "beats" if (self.comparison.difference.mean or 0.0) > 0 else "is worse than"

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        named = {"model": self.model, "baseline": BASELINE, "word": self.word}
        return {**named, **asdict(self.comparison), "p": self.p}


@dataclass(frozen=True)
class RankedModel:
    """The rank of a model.

    Attributes:
        model: Name of the model.
        ranks: Lowest and highest rank, of simultaneous 95 % confidence sets; None if all its trainings failed.
        failed: Number of failed trainings.
        runs: Number of trainings.
    """

    model: str
    ranks: tuple[int, int] | None
    failed: int = 0
    runs: int = 1


def ranking_of(results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[ModelScores]:
    """The ranking AP of every model, from results and their tables of one row per case."""
    pairs = zip(results, tables, strict=True)
    return gather(results, [ranking_scores(table, result.headline.severities) for result, table in pairs])


def gather(results: Sequence[Result], scores: Sequence[pd.Series[float]]) -> list[ModelScores]:
    """Group runs by model; `scores` are by participant, and are aligned to those of the first run."""
    aligned = [own.reindex(scores[0].index) for own in scores]
    runs = zip(results, aligned, failures(results), strict=True)
    models = []
    for name, group in by_model(runs, lambda run: run[0]).items():
        own, by_participant, reasons = zip(*group, strict=True)
        models.append(ModelScores.of(name, own, by_participant, reasons))
    return models


def sound_contrasts(models: Sequence[ModelScores]) -> tuple[list[ModelScores], Contrasts | None]:
    """Compare all models of which a training did not fail.

    Returns:
        These models, and their comparisons; None without models.
    """
    sound = [model for model in models if model.sound]
    return sound, contrasts([model.scored for model in sound]) if sound else None


def verdicts(models: Sequence[ModelScores]) -> list[Verdict]:
    """Compare each model with the z-score; empty if the z-score is not among the models."""
    sound, found = sound_contrasts(models)
    baseline = next((k for k, model in enumerate(sound) if model.name == BASELINE), None)
    if baseline is None or found is None:
        return []
    return [
        Verdict(model.name, found.comparison(k, baseline), found.p_of(k, baseline))
        for k, model in enumerate(sound)
        if k != baseline
    ]


def ranked_models(models: Sequence[ModelScores]) -> list[RankedModel]:
    """The ranks of the models, best first; models without a sound training are last."""
    sound, found = sound_contrasts(models)
    if found is None:
        return [RankedModel(model.name, None, model.failed, model.runs) for model in models]
    ranked = zip(sound, found.rank_sets(), strict=True)
    best_first = sorted(ranked, key=lambda row: -float(np.nanmean(row[0].values)))
    return [
        *(RankedModel(model.name, ranks, model.failed, model.runs) for model, ranks in best_first),
        *(RankedModel(model.name, None, model.failed, model.runs) for model in models if not model.sound),
    ]
