"""Whether a model beats the z-score: paired tests over participants, over all trainings there are of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uadbench.report.words import signed
from uadbench.resampling import Values, mean_intervals
from uadbench.scores import ranking_scores, read_scores
from uadbench.statistics import (
    Comparison,
    compare_paired,
    holm,
    least_p,
    rank_intervals,
    ranking_stability,
    tie_groups,
    too_few,
)

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.results import Result
    from uadbench.runs.keys import Outcome

BASELINE = "zscore"


@dataclass(frozen=True)
class Trained:
    """A model with all its cells of one table.

    `scores` is (seeds, participants): the ranking AP, folds averaged within participant (they share the test
    participants); NaN where a cell knows none.
    """

    name: str
    scores: Values
    folds: int


def trained(outcomes: Sequence[Outcome]) -> list[Trained]:
    """The models of a table, with what their cells scored."""
    results = [outcome.result for outcome in outcomes]
    return gather(results, [ranking_scores(read_scores(o.folder), o.result.headline.severities) for o in outcomes])


def gather(results: Sequence[Result], scores: Sequence[pd.Series[float]]) -> list[Trained]:
    """Cells to models; participants are matched by name."""
    import pandas as pd

    models: list[Trained] = []
    for name in dict.fromkeys(result.model.name for result in results):
        cells = [(r, own) for r, own in zip(results, scores, strict=True) if r.model.name == name]
        table = pd.DataFrame({(r.seed, r.fold): own.reindex(scores[0].index) for r, own in cells})
        by_seed = table.T.groupby(level=0).mean()  # (seeds, participants): the mean over folds
        models.append(Trained(name, by_seed.to_numpy(dtype=np.float64), len({r.fold for r, _ in cells})))
    return models


@dataclass(frozen=True)
class Verdict:
    """A model beside the z-score; `p` is Holm-adjusted over all verdicts of a table, `tests` in number."""

    model: str
    comparison: Comparison
    p: float | None
    tests: int = 1

    @property
    def word(self) -> str:
        """beats, is worse than, or cannot be told apart from."""
        if not self.comparison.decided(self.p):
            return "cannot be told apart from"
        return "beats" if (self.comparison.difference.mean or 0.0) > 0 else "is worse than"

    def __str__(self) -> str:
        comparison, off = self.comparison, self.comparison.difference
        if self.p is None:
            return f"{self.model}: cannot be compared with {BASELINE} (no participant differs)"
        if off.mean is None or off.low is None or off.high is None:
            return f"{self.model}: cannot be compared with {BASELINE} (participants: {comparison.subjects})"
        probability = "p < .001" if self.p < 0.001 else f"p = {self.p:.3f}".replace("0.", ".")
        shares = f"higher for {comparison.prefer_a} of {comparison.subjects} participants"
        bounds = f"{signed(off.mean)} [{signed(off.low)}, {signed(off.high)}]"
        few = "" if comparison.decided(self.p) else too_few(comparison.moved, self.tests)
        return (
            f"{self.model} {self.word} {BASELINE}: {bounds}, {probability}, effect {comparison.effect:+.2f}, {shares}"
            + (f" ({few})" if few else "")
        )

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        told = {"model": self.model, "baseline": BASELINE, "word": self.word}
        tested = {"p": self.p, "p_alone": self.comparison.p, "p_least": least_p(self.comparison.moved, self.tests)}
        return {**told, **asdict(self.comparison), **tested}


@dataclass(frozen=True)
class Standing:
    """A model's place: its group, whose members cannot be told apart from the best of it, and its ranks (95 %)."""

    model: str
    group: int
    ranks: tuple[int, int]


def summaries(models: Sequence[Trained]) -> list[str]:
    """One line a model that was trained more than once: its ranking AP over participants and seeds."""
    lines = []
    for model in models:
        seeds = len(model.scores)
        (overall,) = mean_intervals(model.scores[..., None])
        if seeds * model.folds > 1 and overall.mean is not None and overall.low is not None:
            bounds = f"{overall.mean:.3f} [{overall.low:.3f}, {overall.high:.3f}]"
            trainings = " and ".join(f"{n} {what}" for n, what in ((seeds, "seeds"), (model.folds, "folds")) if n > 1)
            lines.append(f"{model.name}: ranking AP {bounds} over participants and {trainings}")
    return lines


def verdicts(models: Sequence[Trained]) -> list[Verdict]:
    """Does each model beat the z-score? Empty where that is not in the table."""
    baseline = next((model for model in models if model.name == BASELINE), None)
    if baseline is None:
        return []
    others = [model for model in models if model is not baseline]
    compared = [compare_paired(model.scores, baseline.scores) for model in others]
    adjusted = holm([comparison.p for comparison in compared])
    tests = sum(p is not None for p in adjusted)
    return [Verdict(m.name, comparison, p, tests) for m, comparison, p in zip(others, compared, adjusted, strict=True)]


def standings(models: Sequence[Trained]) -> list[Standing]:
    """The places of the models, best first."""
    scores = [model.scores for model in models]
    places = zip(models, tie_groups(scores), rank_intervals(scores), strict=True)
    best_first = sorted(places, key=lambda place: -float(np.nanmean(place[0].scores)))
    return [Standing(model.name, group, ranks) for model, group, ranks in best_first]


def standings_line(models: Sequence[Trained]) -> list[str]:
    """Who shares a place, in one line; none for fewer than three models, about which the verdicts say it all."""
    if len(models) < 3:
        return []
    places = standings(models)
    told = []
    for group in sorted({place.group for place in places}):
        members = (f"{p.model} ({_ranks(*p.ranks)})" for p in places if p.group == group)
        told.append(f"{group}. {', '.join(members)}")
    stability = ranking_stability([model.scores for model in models])
    tau = "" if stability is None else f"; Kendall's tau of resampled rankings {stability:.2f}"
    pairs = len(models) * (len(models) - 1) // 2
    few = too_few(models[0].scores.shape[1], pairs)
    reason = f" ({few})" if few else ""
    return [f"Groups not told apart from their best, with ranks (95 %){reason}: {'; '.join(told)}{tau}"]


def _ranks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
