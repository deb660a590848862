"""Stability of the order: Kendall's tau with other scores, and what a run scores in other ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uadbench.leaderboard.boards import boards
from uadbench.leaderboard.entries import read_entries
from uadbench.leaderboard.stability import COLUMNS, RANKING, alternative_scores, over_trainings, stability

MODELS = {name: {RANKING: score} for name, score in zip("abcde", (0.9, 0.7, 0.5, 0.3, 0.1), strict=True)}


def scored(values: tuple[float, ...]) -> dict[str, dict[str, float]]:
    return {name: {**MODELS[name], "other": value} for name, value in zip(MODELS, values, strict=True)}


@pytest.mark.parametrize(
    ("values", "tau", "first"),
    [((5, 4, 3, 2, 1), 1, "a"), ((1, 2, 3, 4, 5), -1, "e"), ((4, 5, 3, 2, 1), 0.8, "b"), ((1, 1, 1, 1, 2), None, "e")],
)
def test_tau_is_that_of_the_two_orders(values: tuple[float, ...], tau: float | None, first: str) -> None:
    (found,) = stability(scored(values))
    expected = stats.kendalltau([each[RANKING] for each in MODELS.values()], values).statistic if tau is None else tau
    assert (found.name, found.first) == ("other", first) and found.tau == pytest.approx(expected)


def test_models_without_a_score_are_left_out() -> None:
    (found,) = stability(scored((5, np.nan, 3, 2, 1)))
    assert found.tau == 1
    assert stability(scored((5, np.nan, 3, np.nan, np.nan))) == [], "two models have no order worth a number"
    assert stability(scored((2, 2, 2, 2, 2))) == [], "equal scores have no order"
    assert stability({}) == []


def test_scores_are_averaged_over_trainings() -> None:
    assert over_trainings([{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": np.nan}])["x"] == 2
    assert np.isnan(over_trainings([{"x": 1.0}, {}])["x"]) and over_trainings([]) == {}


def test_a_run_is_scored_in_other_ways(committed) -> None:
    entry = next(iter(read_entries(committed)))
    result, table = entry.result, entry.scores(("participant_id", "anomaly", "severity", *COLUMNS))
    scores, head = alternative_scores(result, table), result.headline
    assert scores[RANKING] == pytest.approx(head.ap_standard, rel=1e-5)
    assert scores["native map"] == pytest.approx(head.ap_native, rel=1e-5)
    assert scores["dementias only"] == pytest.approx(head.ap_dementias, rel=1e-5)
    assert scores["unseen only"] == pytest.approx(head.ap_unseen, rel=1e-5)
    (severity,) = head.severities
    assert scores[f"severity {severity:.0%} only"] == pytest.approx(scores[RANKING])
    assert np.isnan(scores[f"scans found at {severity:.0%}"]), "eight test participants are too few"
    rows = table[np.isclose(table["severity"], severity)]
    means = rows.groupby("anomaly")["auroc.standard"].mean()
    expected = (means[list(result.dementias)].mean() + means["unseen"]) / 2
    assert scores["voxelwise AUROC"] == pytest.approx(expected, rel=1e-5)


def test_two_models_have_no_table(committed) -> None:
    (board,) = boards(list(read_entries(committed)), committed)
    assert board.stability == [] and all(row.alternatives for row in board.rows)
