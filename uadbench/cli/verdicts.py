"""Lines that `uadbench run` prints about the comparison of models: scores over trainings, verdicts and ranks."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.report.words import p_value, signed
from uadbench.results.failed import share_failed
from uadbench.results.model_scores import ModelScores
from uadbench.results.verdicts import BASELINE, Verdict, ranked_models
from uadbench.stats.bootstrap import mean_intervals, mean_over_seeds
from uadbench.stats.paired import ONE_TRAINING, ranking_stability
from uadbench.stats.trainings import score_noise


def verdict_line(verdict: Verdict) -> str:
    """Format a comparison with the z-score.

    Args:
        verdict: The comparison.

    Returns:
        One line with the difference, its interval, p, the effect, and the number of participants who score higher.
    """
    comparison, off = verdict.comparison, verdict.comparison.difference
    if off.mean is None or off.low is None or off.high is None:
        return f"{verdict.model}: cannot be compared with {BASELINE} (participants: {comparison.subjects})"
    if verdict.p is None or comparison.effect is None:
        return f"{verdict.model}: cannot be compared with {BASELINE} (no participant differs)"
    shares = f"higher for {comparison.prefer_a} of {comparison.subjects} participants"
    bounds = f"{signed(off.mean)} [{signed(off.low)}, {signed(off.high)}]"
    conditional = f" ({ONE_TRAINING})" if comparison.conditional else ""
    head = f"{verdict.model} {verdict.word} {BASELINE}: {bounds}"
    return f"{head}, p {p_value(verdict.p)}, effect {comparison.effect:+.2f}, {shares}{conditional}"


def summaries(models: Sequence[ModelScores]) -> list[str]:
    """Format the ranking AP of models that were trained more than once.

    Args:
        models: The scores of the models.

    Returns:
        One line per model with mean and interval over participants and seeds, and the number of failed trainings.
    """
    lines = []
    sound = [model for model in models if model.sound]
    noises = score_noise([model.scored for model in sound])
    for model, noise in zip(sound, noises, strict=True):
        seeds = len(model.values)
        (overall,) = mean_intervals(mean_over_seeds(model.values[..., None]), noise=noise)
        if model.runs > 1 and overall.mean is not None and overall.low is not None:
            bounds = f"{overall.mean:.3f} [{overall.low:.3f}, {overall.high:.3f}]"
            counts = [f"{n} {what}" for n, what in ((seeds, "seeds"), (model.folds, "folds")) if n > 1]
            failed = f" ({share_failed(model.failed, model.runs)})" if model.failed else ""
            lines.append(f"{model.name}: ranking AP {bounds} over {' and '.join(['participants', *counts])}{failed}")
    return lines + failed_lines(models)


def failed_lines(models: Sequence[ModelScores]) -> list[str]:
    """One line for each model all of whose trainings failed."""
    return [f"{model.name}: no rank, {share_failed(model.failed, model.runs)}" for model in models if not model.sound]


def ranks_line(models: Sequence[ModelScores]) -> list[str]:
    """Format the ranks of the models.

    Args:
        models: The scores of the models.

    Returns:
        One line; nothing for fewer than three models, for which the verdicts are enough.
    """
    sound = [model for model in models if model.sound]
    if len(sound) < 3:
        return []
    ranks = (f"{row.model} {_ranks(*row.ranks)}" for row in ranked_models(sound) if row.ranks)
    stability = ranking_stability([model.scored for model in sound])
    tau = "" if stability is None else f"; Kendall's tau of resampled rankings {stability:.2f}"
    return [f"Ranks (simultaneous 95 % confidence sets): {', '.join(ranks)}{tau}"]


def _ranks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
