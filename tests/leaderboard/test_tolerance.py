"""How far a metric may move: the tolerance, the verdicts, and results that cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.leaderboard.builder import edited
from uadbench.errors import InputError
from uadbench.leaderboard.tolerance import Change, Watched, changes, incomparable, metrics_of, tolerance
from uadbench.metrics.catalogue import metric_of
from uadbench.protocols.schema import load_protocol
from uadbench.results.schema import Result

SMOKE = load_protocol("smoke").hash[:8]

T_TWO_SIDED = {2: 12.7062, 3: 4.30265, 5: 2.77645}
"""Student's t at 97.5 % by the number of trainings, from a printed table."""


@pytest.fixture(scope="module")
def result(mean) -> Result:
    return mean.result


def moved(result: Result, metric: str, to: float | None) -> Result:
    """The result with another value of a metric, interval and all else as before."""
    if metric == "ranking AP":
        return edited(result, headline__ap_standard=to)
    place = next(k for k, scores in enumerate(result.scores) if scores.anomaly == "healthy")
    content = result.model_dump(mode="json")
    content["scores"][place]["metrics"]["residual.whole.mse"]["mean"] = to
    return Result.model_validate(content)


def the_metric(result: Result, name: str) -> Watched:
    return next(metric for metric in metrics_of(result) if metric.name == name)


def the_change(result: Result, baselines: list[Result], name: str) -> Change:
    return next(change for change in changes(result, baselines) if change.metric == name)


WATCHED = ["ranking AP", "healthy MSE"]


def test_a_result_is_the_same_as_itself(result) -> None:
    found = changes(result, [result])
    assert {change.verdict for change in found} == {"same"}
    names = [change.metric for change in found]
    assert len(set(names)) == len(names) == 47
    assert all(change.baseline == change.result for change in found)
    assert [change.metric for change in found if not change.higher_is_better and "MSE" not in change.metric] == [
        f"damage {name} 30%" for name in (*result.dementias, "unseen")
    ]


@pytest.mark.parametrize("name", WATCHED)
def test_of_one_training_it_is_a_twentieth_of_the_interval(name: str, result) -> None:
    known = the_metric(result, name).value(result)
    assert tolerance([result], the_metric(result, name)) == pytest.approx(0.05 * (known.high - known.low), rel=1e-9)


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_several_trainings_it_is_the_prediction_interval(name: str, seeds: int, result) -> None:
    metric = the_metric(result, name)
    middle = metric.value(result).value
    values = [middle * (1 + 0.1 * step) for step in (-1.0, 0.7, 0.2, 1.3, -0.4)[:seeds]]
    baselines = [moved(result, name, value) for value in values]
    centre = sum(values) / seeds
    spread = (sum((value - centre) ** 2 for value in values) / (seeds - 1)) ** 0.5
    expected = T_TWO_SIDED[seeds] * spread * (1 + 1 / seeds) ** 0.5
    assert tolerance(baselines, metric) == pytest.approx(expected, rel=1e-5)
    change = the_change(result, baselines, name)
    assert (change.baseline, change.tolerance) == pytest.approx((centre, expected), rel=1e-5)


def test_another_training_lies_within_it_as_often_as_it_says() -> None:
    """95 % of trainings of the same model are not called worse or better."""
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        values = rng.standard_normal((20_000, seeds + 1))
        before, now = values[:, :-1], values[:, -1]
        reach = T_TWO_SIDED[seeds] * before.std(axis=1, ddof=1) * np.sqrt(1 + 1 / seeds)
        assert (np.abs(now - before.mean(axis=1)) <= reach).mean() == pytest.approx(0.95, abs=0.005)


def test_trainings_that_agree_leave_the_share_of_the_interval(result) -> None:
    metric = the_metric(result, "ranking AP")
    assert tolerance([result, result, result], metric) == tolerance([result], metric)


def test_without_an_interval_rounding_is_left(result) -> None:
    bare = edited(result, headline__ap_interval=None)
    assert tolerance([bare], the_metric(bare, "ranking AP")) == pytest.approx(2e-6 * result.headline.ap_standard)
    assert (
        the_change(moved(bare, "ranking AP", result.headline.ap_standard * (1 - 1e-6)), [bare], "ranking AP").verdict
        == "same"
    )


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize(
    ("steps", "verdict"), [(1.1, "worse"), (0.9, "same"), (0.0, "same"), (-0.9, "same"), (-1.1, "better")]
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_verdicts(name: str, steps: float, verdict: str, seeds: int, result) -> None:
    """Steps in the bad direction, in tolerances."""
    metric = the_metric(result, name)
    middle = metric.value(result).value
    baselines = [moved(result, name, middle * (1 + 0.01 * step)) for step in range(seeds)]
    centre = float(np.mean([metric.value(baseline).value for baseline in baselines]))
    off = steps * tolerance(baselines, metric) * (-1 if metric.higher_is_better else 1)
    change = the_change(moved(result, name, centre + off), baselines, name)
    assert (change.verdict, change.higher_is_better) == (verdict, name == "ranking AP")
    others = [each for each in changes(moved(result, name, centre + off), baselines) if each.metric != name]
    assert {each.verdict for each in others} == {"same"}


def test_what_is_not_known_any_more_and_what_is_new(result) -> None:
    for name in WATCHED:
        without = moved(result, name, None)
        assert the_change(without, [result], name).verdict == "gone"
        assert the_change(result, [without], name).verdict == "new"
        assert the_change(without, [without], name).verdict == "same"
        assert the_change(result, [result, without], name).verdict == "new"


def test_direction_and_interval_come_from_the_catalogue(result) -> None:
    watched = list(metrics_of(result))
    for each in watched:
        assert each.metric == metric_of(each.metric.name) and each.metric.interval
        assert each.higher_is_better == (each.metric.better == "higher")
    ranked = {each.name for each in watched if each.metric.interval == "ranking"}
    assert ranked == {f"ranking AP, {part}" for part in ("dementias", "unseen", "native")}
    low, high = result.headline.ap_interval
    for each in (each for each in watched if each.name in ranked):
        assert each.value(result).high - each.value(result).low == pytest.approx(high - low)


# --- results that cannot stand side by side


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"protocol__hash": "f" * 64}, f"different protocols: smoke (ffffffff) and smoke ({SMOKE})"),
        ({"cohort__name": "phantom:seed=7"}, "different cohorts: phantom:seed=7 (version 3) and phantom (version 3)"),
        ({"cohort__version": "9"}, "different cohorts: phantom (version 9) and phantom (version 3)"),
        (
            {"cohort__tested_on": "caps-1", "cohort__tested_version": "a"},
            "different cohorts: caps-1 (version a) and phantom (version 3)",
        ),
        ({"testset__recipe": "f" * 64}, "different test sets: ffffffffffff and "),
        ({"testset__sketch__mean_uptake": 1.1}, "their test images differ: mean_uptake is 1.1 and 1.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_why_two_results_cannot_be_compared(changed: dict[str, Any], reason: str, result) -> None:
    other = edited(result, **changed)
    assert incomparable(other, result).startswith(reason)
    assert incomparable(result, other)
    with pytest.raises(InputError, match=r"its baseline cannot be compared: (different|their test images)"):
        changes(result, [result, other])


@pytest.mark.parametrize("near", [1 + 5e-4, 1 - 5e-4])
def test_what_moves_between_machines_can_be_compared(near: float, result) -> None:
    sketch = {name: value * near for name, value in result.testset.sketch.items()}
    assert incomparable(result, edited(result, testset__sketch=sketch)) == ""


def test_who_trained_elsewhere_and_is_tested_here_can_be_compared(result) -> None:
    other = edited(result, cohort__name="caps-1", cohort__tested_on="phantom", cohort__tested_version="3")
    assert incomparable(result, other) == incomparable(other, result) == ""


SKETCHES: dict[str, Callable[[dict[str, float]], dict[str, float]]] = {
    "less": lambda sketch: dict(list(sketch.items())[:-1]),
    "more": lambda sketch: sketch | {"other": 1.0},
    "none": lambda sketch: {},
}


@pytest.mark.parametrize("how", SKETCHES)
def test_it_does_not_matter_which_is_first(how: str, result) -> None:
    other = edited(result, testset__sketch=SKETCHES[how](result.testset.sketch))
    assert bool(incomparable(result, other)) == bool(incomparable(other, result))
