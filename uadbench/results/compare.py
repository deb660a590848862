"""Paired comparison of two or more models, participant by participant: overall and for every dementia."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from uadbench.errors import InputError
from uadbench.metrics.catalogue import metric_of
from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.stats.paired import Comparison, compare_paired, holm, least_p, too_few
from uadbench.types import UNSEEN

OVERALL = metric_of("headline.ap_standard").label


@dataclass(frozen=True)
class Contender:
    """A model with all its runs in a comparison; `tables` have one row per case."""

    name: str
    results: tuple[Result, ...]
    tables: tuple[pd.DataFrame, ...]


@dataclass(frozen=True)
class Pair:
    """The comparison of two models on one measure.

    Attributes:
        measure: What is compared: the ranking AP, or the AP of one dementia or of unseen blobs.
        first: Name of the first model.
        second: Name of the second model.
        comparison: The paired comparison of the two.
        p: Holm-adjusted over all pairs and measures of the comparison.
        tests: Number of these tests.
    """

    measure: str
    first: str
    second: str
    comparison: Comparison
    p: float | None
    tests: int = 1

    @property
    def too_few(self) -> str:
        """Why there are too few participants to separate any pair; "" if there are enough."""
        return too_few(self.comparison.moved, self.tests)

    @property
    def decided(self) -> bool:
        """Whether the two differ significantly."""
        return self.comparison.decided(self.p)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        names = {"measure": self.measure, "first": self.first, "second": self.second}
        tested = {"p": self.p, "p_alone": self.comparison.p, "p_least": least_p(self.comparison.moved, self.tests)}
        return {**names, **asdict(self.comparison), **tested, "decided": self.decided}


def contenders(results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[Contender]:
    """Group runs by model and options.

    Raises:
        InputError: If there are fewer than two models, or two results of the same run.
    """
    grouped = by_model(zip(results, tables, strict=True), lambda run: run[0])
    models = [Contender(name, tuple(r for r, _ in runs), tuple(t for _, t in runs)) for name, runs in grouped.items()]
    if len(models) < 2:
        raise InputError("all results are of one model; give results of at least two models")
    return models


def compare(models: Sequence[Contender]) -> list[Pair]:
    """Compare every pair of models: by the ranking AP, then by the AP of every dementia and of unseen blobs.

    Raises:
        InputError: If the models were tested on different participants.
    """
    result = models[0].results[0]
    measures = [OVERALL, *result.dementias, UNSEEN]
    scores = {(model.name, measure): _scores(model, measure) for model in models for measure in measures}
    people = [scores[model.name, OVERALL].participants for model in models]
    if any(each != people[0] for each in people):
        raise InputError(f"{models[0].name} and others were not tested on the same participants")
    pairs = [(measure, a.name, b.name) for measure in measures for a, b in combinations(models, 2)]
    compared = [compare_paired(scores[a, measure].values, scores[b, measure].values) for measure, a, b in pairs]
    adjusted = holm([comparison.p for comparison in compared])
    tests = sum(p is not None for p in adjusted)
    return [Pair(*pair, comparison, p, tests) for pair, comparison, p in zip(pairs, compared, adjusted, strict=True)]


def _scores(model: Contender, measure: str) -> ModelScores:
    runs: dict[tuple[int, int], pd.Series[float]] = {}
    for result, table in zip(model.results, model.tables, strict=True):
        severities = result.headline.severities
        if measure == OVERALL:
            own = ranking_scores(table, severities)
        else:
            rows = table[(table["anomaly"] == measure) & table["severity"].isin(severities)]
            own = rows.groupby("participant_id")["ap.standard"].agg(lambda values: values.mean(skipna=False))
        runs[result.seed, result.fold] = own
    return ModelScores.of(model.name, runs)
