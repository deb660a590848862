"""Models side by side: differences, tests and pictures of them, from scores that were made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from uadbench.errors import InputError
from uadbench.report.forest import DECIDED, forest
from uadbench.results.compare import OVERALL, Pair, compare, contenders
from uadbench.results.schema import Result, Training
from uadbench.results.verdicts import ranked_models, ranking_of
from uadbench.stats.paired import contrasts
from uadbench.stats.trainings import Scored

DEMENTIAS = ("ad", "pca")
SEVERITIES = (0.1, 0.3)
PEOPLE = 20

Scores = npt.NDArray[np.float64]
"""(people, test sets, severities): the dementias, then unseen blobs."""


@pytest.fixture(scope="module")
def result(trained) -> Result:
    """A real result, of two dementias and two ranking severities."""
    found: Result = trained[0].result
    headline = found.headline.model_copy(update={"severities": SEVERITIES})
    scores = [scores for scores in found.scores if scores.anomaly in DEMENTIAS]
    return found.model_copy(update={"headline": headline, "scores": scores})


def told(result: Result, name: str, seed: int = 0, fold: int = 0, **options: Any) -> Result:
    model = result.model.model_copy(update={"name": name, "options": options})
    return result.model_copy(update={"model": model, "seed": seed, "fold": fold})


def drawn(seed: int, by: float = 0.0) -> Scores:
    people = np.random.default_rng(0).normal(0.5, 0.1, (PEOPLE, 1, 1))
    return people + by + np.random.default_rng(seed).normal(0, 0.05, (PEOPLE, 3, len(SEVERITIES)))


def table(scores: Scores, people: str = "p") -> pd.DataFrame:
    """One row a case, with cases that do not count: another severity, healthy scans."""
    rows = [
        (f"{people}{person:02d}", "s", anomaly, severity, scores[person, k, s])
        for person in range(len(scores))
        for k, anomaly in enumerate((*DEMENTIAS, "unseen"))
        for s, severity in enumerate(SEVERITIES)
    ]
    for person in range(len(scores)):
        rows += [(f"{people}{person:02d}", "s", "ad", 0.9, 7.0), (f"{people}{person:02d}", "s", "healthy", 0.0, np.nan)]
        rows += [(f"{people}{person:02d}", "s", "varied", 0.3, 7.0), (f"{people}{person:02d}", "s", "hyper", 0.3, 7.0)]
    columns = ["participant_id", "session_id", "anomaly", "severity", "ap.standard"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=1)


def by_hand(scores: Scores, measure: str) -> npt.NDArray[np.float64]:
    """A score for everybody."""
    if measure == OVERALL:
        return 0.5 * scores[:, :2].mean(axis=(1, 2)) + 0.5 * scores[:, 2].mean(axis=1)
    return scores[:, (*DEMENTIAS, "unseen").index(measure)].mean(axis=1)


def holm_by_hand(p_values: list[float]) -> list[float]:
    """Each p times the number of those that are no smaller, and no smaller than one before it."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    return [
        min(1.0, max(p_values[j] * (len(p_values) - step) for step, j in enumerate(order[: order.index(k) + 1])))
        for k in range(len(p_values))
    ]


def same(pair: Pair, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> None:
    """The comparison is that of the two arrays, (trainings, people)."""
    models = [Scored(np.atleast_2d(a)), Scored(np.atleast_2d(b))]
    expected, found = contrasts(models).comparison(0, 1), pair.comparison
    assert found.difference.mean == pytest.approx(expected.difference.mean, abs=1e-12)
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (expected.difference.low, expected.difference.high), abs=1e-9
    )
    assert (found.error, found.effect) == pytest.approx((expected.error, expected.effect), rel=1e-9)
    assert (found.prefer_a, found.prefer_b, found.subjects) == (expected.prefer_a, expected.prefer_b, expected.subjects)


def test_two_models_overall_and_in_every_test_set(result) -> None:
    first, second = drawn(1, by=0.03), drawn(2)
    pairs = compare(contenders([told(result, "a"), told(result, "b")], [table(first), table(second)]))
    assert [pair.measure for pair in pairs] == [OVERALL, "ad", "pca", "unseen"]
    for pair in pairs:
        assert (pair.first, pair.second) == ("a", "b")
        same(pair, by_hand(first, pair.measure), by_hand(second, pair.measure))
        difference = by_hand(first, pair.measure) - by_hand(second, pair.measure)
        assert pair.comparison.difference.mean == pytest.approx(difference.mean())
        assert pair.comparison.prefer_a == (difference > 0).sum()


def test_p_is_adjusted_over_the_pairs_and_once_more_for_all_other_measures(result) -> None:
    scores = {"a": drawn(1, by=0.04), "b": drawn(2, by=0.02), "c": drawn(3)}
    pairs = compare(contenders([told(result, name) for name in scores], [table(each) for each in scores.values()]))
    assert len(pairs) == 3 * 4
    assert [(pair.first, pair.second) for pair in pairs[:3]] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [
        float(stats.ttest_rel(by_hand(scores[pair.first], pair.measure), by_hand(scores[pair.second], pair.measure))[1])
        for pair in pairs
    ]
    assert [pair.p for pair in pairs[:3]] == pytest.approx(holm_by_hand(raw[:3]))
    assert [pair.p for pair in pairs[3:]] == pytest.approx(holm_by_hand(raw[3:]))
    assert all(pair.decided == (pair.p < 0.05) for pair in pairs)
    assert {pair.decided for pair in pairs} == {True, False}


def test_p_of_the_ranking_is_that_of_the_ranks(result) -> None:
    """The ranks of a board and the comparison of the same results contradict each other nowhere."""
    scores = {"a": drawn(1, by=0.02), "b": drawn(2, by=0.01), "c": drawn(3)}
    results, tables = [told(result, name) for name in scores], [table(each) for each in scores.values()]
    pairs = [pair for pair in compare(contenders(results, tables)) if pair.measure == OVERALL]
    for row in ranked_models(ranking_of(results, tables)):
        own = [(pair, 1 if pair.first == row.model else -1) for pair in pairs if row.model in (pair.first, pair.second)]
        signs = [sign * (pair.comparison.difference.mean or 0) for pair, sign in own if pair.decided]
        assert row.ranks == (1 + sum(sign < 0 for sign in signs), 3 - sum(sign > 0 for sign in signs))


def test_failed_trainings_are_left_out(result) -> None:
    """A training that is no better than the mean image; its scores would decide the comparison."""
    learnt = {"training": Training(epochs=1, best_epoch=0, losses=[{}], validation_mse=[0.1], precision="float32")}
    card = result.model.model_copy(update={"reconstructs": True})

    def run(name: str, seed: int, error: float) -> Result:
        headline = result.headline.model_copy(update={"validation_mse": error})
        return told(result.model_copy(update={**learnt, "model": card, "headline": headline}), name, seed)

    mean = told(run("mean", 0, 0.2).model_copy(update={"training": None}), "mean")
    runs = [run("a", 0, 0.1), run("a", 1, 0.2), mean]
    kept, dropped, other = drawn(1), drawn(2, by=0.4), drawn(3)
    models = contenders(runs, [table(kept), table(dropped), table(other)])
    (overall, *_) = compare(models)
    same(overall, by_hand(kept, OVERALL), by_hand(other, OVERALL))
    (note,) = models[0].notes
    assert "a fold 0 seed 1" in note and models[1].notes == []
    with pytest.raises(InputError, match="a fold 0 seed 1"):
        compare(contenders([runs[1], mean], [table(dropped), table(other)]))
    *_, last = compare(contenders([runs[1], mean, run("b", 0, 0.1)], [table(dropped), table(other), table(kept)]))
    assert (last.first, last.second) == ("mean", "b")


def test_seeds_stay_apart_and_folds_are_averaged(result) -> None:
    runs = {(seed, fold): drawn(10 * seed + fold + 1, by=0.02 * seed) for seed in (0, 1, 2) for fold in (0, 1)}
    other = drawn(99)
    results = [told(result, "a", seed, fold) for seed, fold in runs] + [told(result, "b")]
    (overall, *_) = compare(contenders(results, [*(table(scores) for scores in runs.values()), table(other)]))
    by_seed = np.stack([by_hand((runs[seed, 0] + runs[seed, 1]) / 2, OVERALL) for seed in (0, 1, 2)])
    same(overall, by_seed, by_hand(other, OVERALL)[None])
    plain = contrasts([Scored(by_seed.mean(axis=0, keepdims=True)), Scored(by_hand(other, OVERALL)[None])])
    assert overall.comparison.error > plain.comparison(0, 1).error, "seeds add to the error"


def test_identical_models_are_not_told_apart(result) -> None:
    scores = table(drawn(1))
    for pair in compare(contenders([told(result, "a"), told(result, "b")], [scores, scores])):
        assert (pair.p, pair.decided, pair.comparison.effect) == (None, False, None)
        assert (pair.comparison.difference.mean, pair.comparison.prefer_a, pair.comparison.prefer_b) == (0, 0, 0)
        assert pair.comparison.subjects == PEOPLE


def test_somebody_without_a_score_is_left_out(result) -> None:
    first, second = drawn(1), drawn(2)
    first[3, 0, 0] = np.nan
    overall, _, pca, _ = compare(contenders([told(result, "a"), told(result, "b")], [table(first), table(second)]))
    assert (overall.comparison.subjects, pca.comparison.subjects) == (PEOPLE - 1, PEOPLE)


def test_somebody_without_a_severity_is_left_out_of_the_test_set(result) -> None:
    first, second = drawn(1), drawn(2)
    first[3, 0, 0] = np.nan
    _, ad, *_ = compare(contenders([told(result, "a"), told(result, "b")], [table(first), table(second)]))
    assert ad.comparison.subjects == PEOPLE - 1


def test_options_make_models_apart(result) -> None:
    results = [told(result, "net", latent=latent, width=8) for latent in (64, 128)]
    first, second = contenders(results, [table(drawn(1)), table(drawn(2))])
    assert (first.name, second.name) == ("net (latent=64)", "net (latent=128)")
    both = contenders([*results, told(result, "b")], [table(drawn(k)) for k in range(3)])
    assert [each.name for each in both][2] == "b"


def test_a_single_model_is_no_comparison(result) -> None:
    results = [told(result, "a", seed) for seed in (0, 1)]
    with pytest.raises(InputError, match="of one model; give results of at least two"):
        contenders(results, [table(drawn(1)), table(drawn(2))])


@pytest.mark.parametrize("other", [table(drawn(2), people="q"), table(drawn(2)[:-1])], ids=["others", "one less"])
def test_other_participants_are_refused(result, other: pd.DataFrame) -> None:
    models = contenders([told(result, "a"), told(result, "b")], [table(drawn(1)), other])
    with pytest.raises(InputError, match="a and others were not tested on the same participants"):
        compare(models)


def test_two_results_of_one_run_are_refused(result) -> None:
    results = [told(result, "a", seed=2, fold=1), told(result, "a", seed=2, fold=1), told(result, "b")]
    with pytest.raises(InputError, match="a: two results of fold 1, seed 2"):
        contenders(results, [table(drawn(k)) for k in range(3)])


def test_as_json_p_is_the_adjusted_one(result) -> None:
    scores = {"a": drawn(1, by=0.02), "b": drawn(2)}
    pairs = compare(contenders([told(result, name) for name in scores], [table(each) for each in scores.values()]))
    assert [pair.to_json()["p"] for pair in pairs] == [pair.p for pair in pairs]


def test_as_json(result) -> None:
    (pair, *_) = compare(contenders([told(result, "a"), told(result, "b")], [table(drawn(1)), table(drawn(2))]))
    found = pair.to_json()
    assert found["measure"] == OVERALL and (found["first"], found["second"]) == ("a", "b")
    assert found["difference"] == vars(pair.comparison.difference) and found["subjects"] == PEOPLE
    assert (found["decided"], found["effect"]) == (pair.decided, pair.comparison.effect)


# --- the picture


def test_a_panel_a_pair_and_a_point_a_measure(result) -> None:
    scores = {"a": drawn(1, by=0.2), "b": drawn(2), "c": drawn(3), "d": drawn(4)}
    pairs = compare(contenders([told(result, name) for name in scores], [table(each) for each in scores.values()]))
    figure = forest(pairs)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == ["a - b", "a - c", "a - d", "b - c", "b - d", "c - d"]
    for axis in (panels[0], panels[3]):  # the first of each row
        assert [label.get_text() for label in axis.get_yticklabels()] == ["unseen", "pca", "ad", OVERALL]
    for axis in panels:
        own = [pair for pair in pairs if f"{pair.first} - {pair.second}" == axis.get_title()]
        points = [line for line in axis.lines if line.get_marker() == "o"]
        bars = [line for line in axis.lines if line.get_marker() != "o" and len(set(line.get_ydata())) == 1]
        assert [float(point.get_xdata()[0]) for point in points] == [pair.comparison.difference.mean for pair in own]
        ends = [tuple(map(float, bar.get_xdata())) for bar in bars]
        assert ends == [(pair.comparison.difference.low, pair.comparison.difference.high) for pair in own]
        assert [point.get_color() == DECIDED for point in points] == [pair.decided for pair in own]
        assert [point.get_markerfacecolor() != "white" for point in points] == [pair.decided for pair in own]


def test_identical_models_can_be_drawn(result) -> None:
    scores = table(drawn(1))
    figure = forest(compare(contenders([told(result, "a"), told(result, "b")], [scores, scores])))
    assert len([line for line in figure.axes[0].lines if line.get_marker() == "o"]) == 4
