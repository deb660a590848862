"""Lines that `uadbench run` prints about the comparison of models: scores over trainings, verdicts and ranks."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.report.words import signed
from uadbench.results.model_scores import ModelScores
from uadbench.results.verdicts import BASELINE, Verdict, ranked_models
from uadbench.stats.bootstrap import mean_intervals
from uadbench.stats.paired import ranking_stability, too_few


def verdict_line(verdict: Verdict) -> str:
    """Format a comparison with the z-score.

    Args:
        verdict: The comparison.

    Returns:
        One line with the difference, its interval, p, the effect, and the number of participants who score higher.
    """
    comparison, off = verdict.comparison, verdict.comparison.difference
    if verdict.p is None:
        return f"{verdict.model}: cannot be compared with {BASELINE} (no participant differs)"
    if off.mean is None or off.low is None or off.high is None:
        return f"{verdict.model}: cannot be compared with {BASELINE} (participants: {comparison.subjects})"
    probability = "p < .001" if verdict.p < 0.001 else f"p = {verdict.p:.3f}".replace("0.", ".")
    shares = f"higher for {comparison.prefer_a} of {comparison.subjects} participants"
    bounds = f"{signed(off.mean)} [{signed(off.low)}, {signed(off.high)}]"
    few = "" if comparison.decided(verdict.p) else too_few(comparison.moved, verdict.tests)
    head = f"{verdict.model} {verdict.word} {BASELINE}: {bounds}"
    return f"{head}, {probability}, effect {comparison.effect:+.2f}, {shares}" + (f" ({few})" if few else "")


def summaries(models: Sequence[ModelScores]) -> list[str]:
    """Format the ranking AP of models that were trained more than once.

    Args:
        models: The scores of the models.

    Returns:
        One line per model with mean and interval over participants and seeds.
    """
    lines = []
    for model in models:
        seeds = len(model.values)
        (overall,) = mean_intervals(model.values[..., None])
        if seeds * model.folds > 1 and overall.mean is not None and overall.low is not None:
            bounds = f"{overall.mean:.3f} [{overall.low:.3f}, {overall.high:.3f}]"
            trainings = " and ".join(f"{n} {what}" for n, what in ((seeds, "seeds"), (model.folds, "folds")) if n > 1)
            lines.append(f"{model.name}: ranking AP {bounds} over participants and {trainings}")
    return lines


def places_line(models: Sequence[ModelScores]) -> list[str]:
    """Format the groups and ranks of the models.

    Args:
        models: The scores of the models.

    Returns:
        One line; nothing for fewer than three models, for which the verdicts are enough.
    """
    if len(models) < 3:
        return []
    ranked = ranked_models(models)
    groups = []
    for group in sorted({row.group for row in ranked}):
        members = (f"{p.model} ({_ranks(*p.ranks)})" for p in ranked if p.group == group)
        groups.append(f"{group}. {', '.join(members)}")
    stability = ranking_stability([model.values for model in models])
    tau = "" if stability is None else f"; Kendall's tau of resampled rankings {stability:.2f}"
    pairs = len(models) * (len(models) - 1) // 2
    few = too_few(models[0].values.shape[1], pairs)
    reason = f" ({few})" if few else ""
    return [
        f"Groups without significant differences from their best, with ranks (95 %){reason}: {'; '.join(groups)}{tau}"
    ]


def _ranks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
