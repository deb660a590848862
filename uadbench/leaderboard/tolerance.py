"""Comparison of a result with baselines; tolerances come from the spread between seeds and the metric's interval."""

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
"""Tolerance as a share of half of a metric's 95 % interval over participants; smaller changes are negligible."""

AUROC = "detection.testsets.auroc"

ROUNDING = 2e-6
"""Relative tolerance for rounding: results hold six digits."""


@dataclass(frozen=True)
class Watched:
    """A number of a result that may improve or worsen.

    Attributes:
        metric: The metric's entry in the catalogue.
        of: The test set, or "".
        value: Returns the number of a result, with its interval.
    """

    metric: Metric
    of: str
    value: Callable[[Result], Bounded]

    @property
    def name(self) -> str:
        """The label of the metric, followed by the test set if there is one."""
        return f"{self.metric.label} {self.of}".rstrip()

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.metric.better == "higher"


@dataclass(frozen=True)
class Change:
    """A metric in a result compared with its baseline.

    Attributes:
        metric: Name of the metric.
        higher_is_better: Whether larger values are better.
        baseline: Mean of the baselines; None for n/a.
        result: Value in the result; None for n/a.
        tolerance: Largest change that counts as the same; None for n/a.
        verdict: "same" (within the tolerance), "better", "worse", "gone" (only the baseline has a value) or "new"
            (only the result has a value).
    """

    metric: str
    higher_is_better: bool
    baseline: float | None
    result: float | None
    tolerance: float | None
    verdict: str


def metrics_of(result: Result) -> Iterator[Watched]:
    """Yield every number that is compared, for the severities and test sets of the result's protocol."""
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
    """A metric of the catalogue, on a test set if it has one.

    Raises:
        ValueError: If the catalogue does not say which direction is better, or which interval sets the tolerance.
    """
    metric = metric_of(name)
    if metric.better == "neither" or not metric.interval:
        raise ValueError(f"{name} cannot be compared: the catalogue gives no direction or no interval")
    of = f"{anomaly} {severity:.0%}" if severity else anomaly
    return Watched(metric, of, _value(metric, anomaly, severity))


def _value(metric: Metric, anomaly: str, severity: float) -> Callable[[Result], Bounded]:
    """The function that reads a number and its interval from a result."""
    if metric.interval == "ranking":
        return _part(metric.name.removeprefix("headline."))
    if metric.name == "headline.ap_standard":
        return _ranking
    if metric.name == "headline.healthy_mse":
        return _estimate(HEALTHY, 0.0, "residual.whole.mse")
    return _auroc(anomaly, severity) if metric.name == AUROC else _estimate(anomaly, severity, metric.name)


def changes(result: Result, baselines: Sequence[Result]) -> list[Change]:
    """Compare every metric of a result with the mean of its baselines.

    Args:
        result: The result.
        baselines: Results of one model with several seeds.

    Returns:
        One comparison per metric.

    Raises:
        InputError: If the result and a baseline are not comparable.
    """
    for baseline in baselines:
        if reason := incomparable(result, baseline):
            raise InputError(f"the result and its baseline cannot be compared: {reason}")
    return [_change(metric, result, baselines) for metric in metrics_of(baselines[0])]


def incomparable(one: Result, other: Result) -> str:
    """Explain why two results cannot be compared.

    Args:
        one: A result.
        other: Another result.

    Returns:
        The reason; "" if they can be compared.
    """
    if one.protocol.hash != other.protocol.hash:
        first, second = (f"{each.protocol.name} ({each.protocol.hash[:8]})" for each in (one, other))
        return f"different protocols: {first} and {second}"
    if _tested(one) != _tested(other):
        return f"different cohorts: {_tested(one)} and {_tested(other)}"
    if one.testset.recipe != other.testset.recipe:
        return f"different test sets: {one.testset.recipe[:12]} and {other.testset.recipe[:12]}"
    if set(one.testset.sketch) != set(other.testset.sketch):
        return "their test images differ: their fingerprints contain different numbers"
    for name, value in one.testset.sketch.items():
        theirs = other.testset.sketch.get(name)
        if theirs is None or abs(value - theirs) > SKETCH * max(abs(value), abs(theirs)):
            return f"their test images differ: {name} is {value:g} and {theirs if theirs is None else f'{theirs:g}'}"
    return ""


def require_comparable(labels: Sequence[object], results: Sequence[Result]) -> None:
    """Check that results can be compared with the first one.

    Args:
        labels: What error messages call each result.
        results: The results.

    Raises:
        InputError: If a result has another protocol, cohort or test sets than the first.
    """
    for label, result in zip(labels, results, strict=True):
        if reason := incomparable(results[0], result):
            raise InputError(f"{labels[0]} and {label} cannot be compared: {reason}")


SKETCH = 1e-3
"""Relative tolerance of a test set's sketch; between machines it differs by about 1e-4."""


def tolerance(baselines: Sequence[Result], metric: Watched) -> float | None:
    """Compute by how much a metric may be worse than the mean of its baselines.

    It is the larger of two numbers: the half-width of the 95 % prediction interval for another training,
    t s sqrt(1 + 1/n) for n trainings with standard deviation s; and a tenth of half of the metric's own interval
    over participants.

    Args:
        baselines: Results of one model with several seeds.
        metric: The metric.

    Returns:
        The tolerance, in the unit of the metric; None if the metric is n/a in a baseline.
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
    values = [value for baseline in baselines if (value := metric.value(baseline).value) is not None]
    before = float(np.mean(values)) if allowed is not None else None
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
    """A part of the ranking AP, with an interval as wide as that of the whole."""

    def value(result: Result) -> Bounded:
        middle = getattr(result.headline, name)
        if middle is None or result.headline.ap_interval is None:
            return Bounded(value=middle, low=None, high=None)
        half = (result.headline.ap_interval[1] - result.headline.ap_interval[0]) / 2
        return Bounded(value=middle, low=middle - half, high=middle + half)

    return value


def _estimate(anomaly: str, severity: float, metric: str) -> Callable[[Result], Bounded]:
    def value(result: Result) -> Bounded:
        estimate: Estimate | None = result.estimate(anomaly, severity, metric)
        if estimate is None:
            return Bounded(value=None, low=None, high=None)
        return Bounded(value=estimate.mean, low=estimate.low, high=estimate.high)

    return value


def _auroc(anomaly: str, severity: float) -> Callable[[Result], Bounded]:
    def value(result: Result) -> Bounded:
        detection = result.detected(anomaly, severity)
        return Bounded(value=None, low=None, high=None) if detection is None else detection.auroc

    return value
