"""Whether a model beats the z-score: paired tests over participants, over all trainings there are of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uadbench.resampling import Values, mean_intervals, mean_over_seeds
from uadbench.scores import ranking_scores, read_scores
from uadbench.statistics import Comparison, compare_paired, holm, rank_intervals, ranking_stability, tie_groups

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.cells import Outcome
    from uadbench.results import Result

BASELINE = "zscore"
SIGNIFICANT = 0.05


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


def standings(models: Sequence[Trained]) -> list[str]:
    """Who shares a place, for three models or more: groups that cannot be told apart, and 95 % intervals of ranks."""
    scores = np.stack([mean_over_seeds(model.scores[..., None])[:, 0] for model in models], axis=1)
    scores = scores[np.isfinite(scores).all(axis=1)]
    if len(models) < 3 or len(scores) < 2:
        return []
    groups, ranks, stability = tie_groups(scores), rank_intervals(scores), ranking_stability(scores)
    order = np.argsort(-scores.mean(axis=0), kind="stable").tolist()
    told = []
    for group in sorted(set(groups)):
        members = [k for k in order if groups[k] == group]
        told.append(f"{group}. " + ", ".join(f"{models[k].name} ({_ranks(*ranks[k])})" for k in members))
    tau = "" if stability is None else f"; Kendall's tau of resampled rankings {stability:.2f}"
    return [f"Groups that cannot be told apart, with ranks (95 %): {'; '.join(told)}{tau}"]


def _ranks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def verdicts(models: Sequence[Trained]) -> list[str]:
    """One line a model: does it beat the z-score? Holm-adjusted over the lines."""
    baseline = next((model for model in models if model.name == BASELINE), None)
    others = [model for model in models if model.name != BASELINE]
    if baseline is None:
        return []
    compared = [compare_paired(model.scores, baseline.scores) for model in others]
    adjusted = holm([comparison.p for comparison in compared])
    return [_verdict(m.name, comparison, p) for m, comparison, p in zip(others, compared, adjusted, strict=True)]


def _verdict(name: str, comparison: Comparison, p: float | None) -> str:
    off = comparison.difference
    if p is None or off.mean is None or off.low is None or off.high is None:
        return f"{name}: cannot be compared with {BASELINE} (no participant differs)"
    # the test knows participants only; the interval knows trainings, too
    decided = p < SIGNIFICANT and not off.low <= 0 <= off.high
    word = "cannot be told apart from" if not decided else "beats" if off.mean > 0 else "is worse than"
    probability = "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")
    shares = f"higher for {comparison.prefer_a} of {comparison.subjects} participants"
    return f"{name} {word} {BASELINE}: {off.mean:+.3f} [{off.low:+.3f}, {off.high:+.3f}], {probability}, {shares}"
