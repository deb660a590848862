"""The simulation of the decision rule, and what it shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uadbench.results.compare import compare, contenders
from uadbench.results.schema import read_result
from uadbench.results.scores import read_scores_of, scores_beside
from uadbench.stats import decision
from uadbench.stats.decision import SUBJECT_SD, Scenario, main, simulate

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results" / "quick" / "phantom"


def most(share: float, trials: int) -> float:
    """The largest share of trials, beyond which a true share is refuted (three standard errors)."""
    return share + 3 * np.sqrt(share * (1 - share) / trials)


def test_a_draw_is_what_the_scenario_says() -> None:
    scenario = Scenario(seed_sd=0.05, gain=0.1, models=400, subjects=60)
    models, truth = scenario.draw(np.random.default_rng(0))
    values = np.stack([model.values for model in models])
    means = values.mean(axis=(1, 2))
    assert values.shape == (400, 3, 60) and set(truth) == {0.1, 0.0}
    assert means[truth > 0].mean() - means[truth == 0].mean() == pytest.approx(0.1, abs=0.02)
    assert values.mean(axis=2).std(axis=1, ddof=1).mean() == pytest.approx(0.05 * 0.886, rel=0.1)
    off = values[1::2].mean(axis=1) - values[::2].mean(axis=1)
    assert off.std(axis=1, ddof=1).mean() == pytest.approx(SUBJECT_SD, rel=0.05)


def test_failed_trainings_are_left_out_of_a_draw() -> None:
    models, truth = Scenario(failing=0.6, models=300).draw(np.random.default_rng(0))
    assert len(models) == len(truth) == pytest.approx(300 * (1 - 0.6**3), rel=0.1)
    assert {len(model.values) for model in models} == {1, 2, 3}


def test_equal_models_are_told_apart_rarely_and_true_differences_found() -> None:
    trials = 60
    equal = simulate(Scenario(seed_sd=0.008), trials)
    assert equal.false <= most(0.05, trials) and np.isnan(equal.power)
    assert equal.blind > 0.15, "who forgets the trainings is wrong"
    assert 0.92 < equal.differences < 0.98 and equal.ranks >= 1 - most(0.05, trials)
    apart = simulate(Scenario(seed_sd=0.008, gain=0.1), 10)
    assert apart.power > 0.95 and apart.ranks >= 0.8


def test_the_sd_over_participants_is_that_of_the_committed_results() -> None:
    """Within a factor of two: results are added, and the simulation must not follow each of them."""
    files = [file for file in sorted(RESULTS.glob("*/*.json")) if file.parent.name != "identity"]
    results = [read_result(file) for file in files]
    tables = [read_scores_of(result, scores_beside(file)) for result, file in zip(results, files, strict=True)]
    pairs = compare(contenders(results, tables))
    found = np.median([pair.comparison.subject_sd for pair in pairs if pair.measure == pairs[0].measure])
    assert SUBJECT_SD / 2 < found < SUBJECT_SD * 2


def test_the_table_has_a_row_for_each_scenario(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(decision, "simulate", lambda scenario, trials, seed=0: simulate(scenario, 2, seed))
    main([])
    first, heading, *rows = capsys.readouterr().out.splitlines()
    assert f"{SUBJECT_SD:.3g}" in first and len(rows) == 8 and {len(row) for row in rows} == {len(heading)}
    pairs = [{"measure": "AP", "subject_sd": sd} for sd in (0.1, 0.2, 0.3)] + [{"measure": "ad", "subject_sd": 9.0}]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    main([str(tmp_path / "pairs.json")])
    assert capsys.readouterr().out.startswith(first.replace(f"{SUBJECT_SD:.3g}", "0.2"))


@pytest.mark.nightly
@pytest.mark.parametrize("failing", [0.0, 0.1])
@pytest.mark.parametrize("seed_sd", [0.0, 0.008, 0.016])
def test_eighteen_equal_models(seed_sd: float, failing: float) -> None:
    trials = 1000
    found = simulate(Scenario(seed_sd=seed_sd, failing=failing), trials)
    assert found.false <= most(0.05, trials) and found.ranks >= 1 - most(0.05, trials)
    assert 0.94 < found.differences < 0.96


@pytest.mark.nightly
@pytest.mark.parametrize("models", [2, 3, 5])
def test_few_models(models: int) -> None:
    trials = 2000
    for varies in (False, True):
        found = simulate(Scenario(seed_sd=0.008, varies=varies, models=models), trials)
        assert found.false <= most(0.05, trials)


@pytest.mark.nightly
def test_power_grows_with_the_difference_and_falls_with_the_noise() -> None:
    quiet = [simulate(Scenario(gain=gain), 50).power for gain in (0.01, 0.02, 0.04)]
    noisy = [simulate(replace(Scenario(seed_sd=0.016), gain=gain), 50).power for gain in (0.01, 0.02, 0.04)]
    assert quiet == sorted(quiet) and quiet[-1] > 0.5
    assert all(a > b for a, b in zip(quiet, noisy, strict=True))
