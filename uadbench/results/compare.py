"""Paired comparison of two or more models, participant by participant: overall and for every dementia."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.metrics.catalogue import metric_of
from uadbench.results.failed import failures
from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.stats.paired import Comparison, contrasts, holm, significant
from uadbench.types import UNSEEN

OVERALL = metric_of("headline.ap_standard").label


@dataclass(frozen=True)
class Contender:
    """A model with all its runs in a comparison.

    Attributes:
        name: Name of the model.
        results: Its results.
        tables: Their tables with one row per case.
        reasons: Why each training failed; "" for a sound one. Failed trainings are not compared.
    """

    name: str
    results: tuple[Result, ...]
    tables: tuple[pd.DataFrame, ...]
    reasons: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """A line for each failed training."""
        runs = zip(self.results, self.reasons, strict=True)
        return [f"{self.name} fold {r.fold} seed {r.seed}: training failed ({reason})" for r, reason in runs if reason]


@dataclass(frozen=True)
class Pair:
    """The comparison of two models on one measure.

    Attributes:
        measure: What is compared: the ranking AP, or the AP of one dementia or of unseen blobs.
        first: Name of the first model.
        second: Name of the second model.
        comparison: The paired comparison of the two.
        p: Holm-adjusted: the ranking AP over all pairs of models, which is the p of the board; the other measures
            together over all pairs and measures.
    """

    measure: str
    first: str
    second: str
    comparison: Comparison
    p: float | None

    @property
    def decided(self) -> bool:
        """Whether the two differ significantly."""
        return significant(self.p)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        names = {"measure": self.measure, "first": self.first, "second": self.second}
        return {**names, **asdict(self.comparison), "p": self.p, "decided": self.decided}


def contenders(results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[Contender]:
    """Group runs by model and options.

    Raises:
        InputError: If there are fewer than two models, or two results of the same run.
    """
    grouped = by_model(zip(results, tables, failures(results), strict=True), lambda run: run[0])
    models = [Contender(name, *zip(*runs, strict=True)) for name, runs in grouped.items()]
    if len(models) < 2:
        raise InputError("all results are of one model; give results of at least two models")
    return models


def compare(models: Sequence[Contender]) -> list[Pair]:
    """Compare every pair of models: by the ranking AP, then by the AP of every dementia and of unseen blobs.

    Failed trainings are left out, and so are models all of whose trainings failed.

    Raises:
        InputError: If the models were tested on different participants, or fewer than two have a training that did not
            fail.
    """
    result = models[0].results[0]
    overall = [_scores(model, OVERALL) for model in models]
    if any(each.participants != overall[0].participants for each in overall):
        raise InputError(f"{models[0].name} and others were not tested on the same participants")
    sound = [model for model, scores in zip(models, overall, strict=True) if scores.sound]
    if len(sound) < 2:
        failed = "; ".join(note for model in models for note in model.notes)
        raise InputError(f"fewer than two models to compare: {failed}")
    names = list(combinations(range(len(sound)), 2))
    measures = [OVERALL, *result.dementias, UNSEEN]
    found = [contrasts([_scores(model, measure).scored for model in sound]) for measure in measures]
    p_values = np.concatenate([found[0].p, holm(np.concatenate([each.raw for each in found[1:]]))])
    pairs = [(measure, each, a, b) for measure, each in zip(measures, found, strict=True) for a, b in names]
    return [
        Pair(measure, sound[a].name, sound[b].name, each.comparison(a, b), None if np.isnan(p) else float(p))
        for (measure, each, a, b), p in zip(pairs, p_values, strict=True)
    ]


def _scores(model: Contender, measure: str) -> ModelScores:
    scores = []
    for result, table in zip(model.results, model.tables, strict=True):
        severities = result.headline.severities
        if measure == OVERALL:
            own = ranking_scores(table, severities)
        else:
            rows = table[(table["anomaly"] == measure) & table["severity"].isin(severities)]
            own = rows.groupby("participant_id")["ap.standard"].agg(lambda values: values.mean(skipna=False))
        scores.append(own)
    return ModelScores.of(model.name, model.results, scores, model.reasons)
