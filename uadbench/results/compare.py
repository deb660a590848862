"""Two or more results, participant by participant: what separates them, over all and in every dementia."""

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
    """A model with all its runs of a comparison; `tables` hold one row a case each."""

    name: str
    results: tuple[Result, ...]
    tables: tuple[pd.DataFrame, ...]


@dataclass(frozen=True)
class Pair:
    """Two models on one measure; `p` is Holm-adjusted over all pairs and measures of the comparison."""

    measure: str
    first: str
    second: str
    comparison: Comparison
    p: float | None
    tests: int = 1
    """How many tests the family has."""

    @property
    def too_few(self) -> str:
        """Why so few participants cannot separate any pair; "" where they can."""
        return too_few(self.comparison.moved, self.tests)

    @property
    def decided(self) -> bool:
        """Whether the two differ."""
        return self.comparison.decided(self.p)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        told = {"measure": self.measure, "first": self.first, "second": self.second}
        tested = {"p": self.p, "p_alone": self.comparison.p, "p_least": least_p(self.comparison.moved, self.tests)}
        return {**told, **asdict(self.comparison), **tested, "decided": self.decided}


def contenders(results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[Contender]:
    """Runs to models, which differ by name or options.

    Raises:
        InputError: If fewer than two models are left, or for two results of one run.
    """
    grouped = by_model(zip(results, tables, strict=True), lambda run: run[0])
    found = [Contender(name, tuple(r for r, _ in runs), tuple(t for _, t in runs)) for name, runs in grouped.items()]
    if len(found) < 2:
        raise InputError("all results are of one model; give results of two models at least")
    return found


def compare(models: Sequence[Contender]) -> list[Pair]:
    """Every pair of models: the ranking AP, then AP over the ranking severities in every dementia and unseen blobs.

    Raises:
        InputError: If their participants are not the same.
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
