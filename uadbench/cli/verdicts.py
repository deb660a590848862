"""What `uadbench run` prints of models that are compared: scores of several trainings, verdicts, places."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.report.words import signed
from uadbench.results.model_scores import ModelScores
from uadbench.results.verdicts import BASELINE, Verdict, places
from uadbench.stats.bootstrap import mean_intervals
from uadbench.stats.paired import ranking_stability, too_few


def verdict_line(verdict: Verdict) -> str:
    """One line: the difference with its interval, p, effect, and how many participants score higher."""
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
    """One line a model that was trained more than once: its ranking AP over participants and seeds."""
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
    """Who shares a place, in one line; none for fewer than three models, for which the verdicts say it all."""
    if len(models) < 3:
        return []
    ranked = places(models)
    groups = []
    for group in sorted({place.group for place in ranked}):
        members = (f"{p.model} ({_ranks(*p.ranks)})" for p in ranked if p.group == group)
        groups.append(f"{group}. {', '.join(members)}")
    stability = ranking_stability([model.values for model in models])
    tau = "" if stability is None else f"; Kendall's tau of resampled rankings {stability:.2f}"
    pairs = len(models) * (len(models) - 1) // 2
    few = too_few(models[0].values.shape[1], pairs)
    reason = f" ({few})" if few else ""
    return [f"Groups not told apart from their best, with ranks (95 %){reason}: {'; '.join(groups)}{tau}"]


def _ranks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
