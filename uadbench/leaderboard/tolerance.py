"""How far a metric may move before it has got worse: from the spread between seeds, and from its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from uadbench.errors import InputError
from uadbench.metrics.catalogue import metric_of
from uadbench.metrics.metric import Metric
from uadbench.results.schema import Bounded, Estimate, Result
from uadbench.types import HEALTHY, PATIENTS, UNSEEN

SHARE_OF_INTERVAL = 0.1
"""Of half of a metric's 95 % interval over participants: what nobody could see on another test set."""

AUROC = "detection.testsets.auroc"

ROUNDING = 2e-6
"""Of a value: results hold six digits."""


@dataclass(frozen=True)
class Watched:
    """A number of a result that may get better or worse; `value` gives it with its interval."""

    metric: Metric
    of: str
    value: Callable[[Result], Bounded]

    @property
    def name(self) -> str:
        """What it is called: its label, and the test set that it is of."""
        return f"{self.metric.label} {self.of}".rstrip()

    @property
    def higher_is_better(self) -> bool:
        """Which direction is better."""
        return self.metric.better == "higher"


@dataclass(frozen=True)
class Change:
    """A metric in a result and in its baseline; None is n/a.

    `verdict`: same (within the tolerance), better, worse, gone (n/a where the baseline has a value), or new.
    """

    metric: str
    higher_is_better: bool
    baseline: float | None
    result: float | None
    tolerance: float | None
    verdict: str


def metrics_of(result: Result) -> Iterator[Watched]:
    """Every number that is watched, as far as the result's protocol has it."""
    for name in ("ap_standard", "ap_dementias", "ap_unseen", "ap_native", "healthy_mse"):
        yield _watched(f"headline.{name}")
    severities = result.headline.severities
    everything = [*result.dementias, UNSEEN]
    for severity in severities:
        for anomaly in everything:
            yield _watched("ap.standard", anomaly, severity)
    for column in ("recovered", "damage", "identified"):
        for anomaly in everything:
            yield _watched(column, anomaly, severities[-1])
    for anomaly in result.dementias:
        yield _watched("restoration.whole.mse", anomaly, severities[-1])
        yield _watched(AUROC, anomaly, severities[0])
    yield _watched(AUROC, UNSEEN, severities[0])
    yield _watched(AUROC, PATIENTS)


def _watched(name: str, anomaly: str = "", severity: float = 0.0) -> Watched:
    """A number of the catalogue, on a test set where it has one.

    Raises:
        ValueError: The catalogue does not say which direction is better, or which interval sets its tolerance.
    """
    metric = metric_of(name)
    if metric.better == "neither" or not metric.interval:
        raise ValueError(f"{name} cannot be watched: the catalogue gives no direction or no interval")
    of = f"{anomaly} {severity:.0%}" if severity else anomaly
    return Watched(metric, of, _value(metric, anomaly, severity))


def _value(metric: Metric, anomaly: str, severity: float) -> Callable[[Result], Bounded]:
    """Where a result holds a number with its interval."""
    if metric.interval == "ranking":
        return _part(metric.name.removeprefix("headline."))
    if metric.name == "headline.ap_standard":
        return _ranking
    if metric.name == "headline.healthy_mse":
        return _estimate(HEALTHY, 0.0, "residual.whole.mse")
    return _auroc(anomaly, severity) if metric.name == AUROC else _estimate(anomaly, severity, metric.name)


def changes(result: Result, baselines: Sequence[Result]) -> list[Change]:
    """Every watched metric beside the mean of the baselines, which are trainings of one model with several seeds.

    Raises:
        InputError: Where the two cannot be compared.
    """
    for baseline in baselines:
        if reason := incomparable(result, baseline):
            raise InputError(f"the result and its baseline cannot be compared: {reason}")
    return [_change(metric, result, baselines) for metric in metrics_of(baselines[0])]


def incomparable(one: Result, other: Result) -> str:
    """Why two results cannot stand side by side; "" where they can."""
    if one.protocol.hash != other.protocol.hash:
        first, second = (f"{each.protocol.name} ({each.protocol.hash[:8]})" for each in (one, other))
        return f"different protocols: {first} and {second}"
    if _tested(one) != _tested(other):
        return f"different cohorts: {_tested(one)} and {_tested(other)}"
    if one.testset.recipe != other.testset.recipe:
        return f"different test sets: {one.testset.recipe[:12]} and {other.testset.recipe[:12]}"
    if set(one.testset.sketch) != set(other.testset.sketch):
        return "their test images differ: their fingerprints tell of different numbers"
    for name, value in one.testset.sketch.items():
        there = other.testset.sketch.get(name)
        if there is None or abs(value - there) > SKETCH * max(abs(value), abs(there)):
            return f"their test images differ: {name} is {value:g} and {there if there is None else f'{there:g}'}"
    return ""


SKETCH = 1e-3
"""Relative: between machines the sketch of a test set moves by about 1e-4."""


def tolerance(baselines: Sequence[Result], metric: Watched) -> float | None:
    """The most by which a metric may be worse than the mean of its baselines; None where it is n/a in one.

    Another training lies within t s sqrt(1 + 1/n) of the mean of n trainings whose standard deviation is s (95 %
    prediction interval); besides, a tenth of half of the metric's own interval over participants.
    """
    bounds = [metric.value(baseline) for baseline in baselines]
    values = [each.value for each in bounds if each.value is not None]
    if len(values) < len(bounds):
        return None
    spread = 0.0
    if len(values) > 1:
        reach = stats.t.ppf(0.975, len(values) - 1) * np.sqrt(1 + 1 / len(values))
        spread = float(reach * np.std(values, ddof=1))
    widths = [(b.high - b.low) / 2 for b in bounds if b.low is not None and b.high is not None]
    width = SHARE_OF_INTERVAL * float(np.mean(widths)) if widths else 0.0
    return max(spread, width, ROUNDING * abs(float(np.mean(values))))


def _change(metric: Watched, result: Result, baselines: Sequence[Result]) -> Change:
    allowed = tolerance(baselines, metric)
    known = [value for baseline in baselines if (value := metric.value(baseline).value) is not None]
    before = float(np.mean(known)) if allowed is not None else None
    now = metric.value(result).value
    if before is None or allowed is None:
        verdict = "same" if now is None else "new"
    elif now is None:
        verdict = "gone"
    else:
        gained = now - before if metric.higher_is_better else before - now
        verdict = "worse" if gained < -allowed else "better" if gained > allowed else "same"
    return Change(metric.name, metric.higher_is_better, before, now, allowed, verdict)


def _tested(result: Result) -> str:
    cohort = result.cohort
    name, version = cohort.tested_on or cohort.name, cohort.tested_version or cohort.version
    return f"{name} (version {version})"


def _ranking(result: Result) -> Bounded:
    low, high = result.headline.ap_interval or (None, None)
    return Bounded(value=result.headline.ap_standard, low=low, high=high)


def _part(name: str) -> Callable[[Result], Bounded]:
    """A part of what ranks, with an interval as wide as that of the whole."""

    def value(result: Result) -> Bounded:
        middle = getattr(result.headline, name)
        if middle is None or result.headline.ap_interval is None:
            return Bounded(value=middle, low=None, high=None)
        half = (result.headline.ap_interval[1] - result.headline.ap_interval[0]) / 2
        return Bounded(value=middle, low=middle - half, high=middle + half)

    return value


def _estimate(anomaly: str, severity: float, metric: str) -> Callable[[Result], Bounded]:
    def value(result: Result) -> Bounded:
        found: Estimate | None = result.estimate(anomaly, severity, metric)
        if found is None:
            return Bounded(value=None, low=None, high=None)
        return Bounded(value=found.mean, low=found.low, high=found.high)

    return value


def _auroc(anomaly: str, severity: float) -> Callable[[Result], Bounded]:
    def value(result: Result) -> Bounded:
        found = result.detected(anomaly, severity)
        return Bounded(value=None, low=None, high=None) if found is None else found.auroc

    return value
