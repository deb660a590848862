"""Verdicts: what is said of a model beside the z-score, over all of its trainings."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from uadbench.cli.verdicts import ranks_line, summaries, verdict_line
from uadbench.report.words import signed
from uadbench.results.verdicts import gather, ranked_models
from uadbench.results.verdicts import verdicts as verdicts_of
from uadbench.stats.paired import ONE_TRAINING


def result(name: str, fold: int = 0, seed: int = 0) -> SimpleNamespace:
    model = SimpleNamespace(name=name, options={}, answers=None, reconstructs=False)
    headline = SimpleNamespace(validation_mse=None)
    return SimpleNamespace(model=model, fold=fold, seed=seed, training=None, headline=headline)


def scores(shift: float, noise: float = 0.05) -> pd.Series:
    rng = np.random.default_rng(1)
    people = [f"sub-{k}" for k in range(50)]
    return pd.Series(
        0.6 + 0.05 * rng.normal(size=50) + shift + noise * np.random.default_rng(2).normal(size=50), people
    )


def verdicts(models) -> list[str]:
    return [verdict_line(verdict) for verdict in verdicts_of(models)]


def test_each_word():
    shown = [result("better"), result("worse"), result("same"), result("copy"), result("zscore")]
    given = [scores(0.1), scores(-0.1), scores(0.0), scores(0, 0), scores(0, 0)]
    better, worse, same, copy = verdicts(gather(shown, given))
    assert better.startswith("better beats zscore: +0.1") and "p < .001" in better
    assert worse.startswith("worse is worse than zscore: -0.") and "of 50 participants" in worse
    assert same.startswith("same does not differ significantly from zscore: ") and ", p = " in same
    assert copy == "copy: cannot be compared with zscore (no participant differs)"


def test_participants_are_matched_by_name():
    shuffled = scores(0.1).sample(frac=1, random_state=3)
    both = [result("a"), result("zscore")]
    assert verdicts(gather(both, [shuffled, scores(0, 0)])) == verdicts(gather(both, [scores(0.1), scores(0, 0)]))


def test_no_baseline_no_verdict():
    models = gather([result("a"), result("b")], [scores(0), scores(0)])
    assert verdicts(models) == [] and summaries(models) == []


def test_folds_are_averaged_within_the_participant_before_anything_is_compared():
    """Earlier work reported its best fold, or took folds for further people."""
    runs = [result("a", fold) for fold in range(3)] + [result("zscore")]
    given = [scores(0.1), scores(0.0), scores(-0.1), scores(0, 0)]
    model, _ = gather(runs, given)
    assert model.values.shape == (1, 50) and model.folds == 3
    np.testing.assert_allclose(model.values[0], scores(0.0).sort_index())
    (line,) = summaries([model])
    assert "1 seeds" not in line and "3 folds" in line
    (verdict,) = verdicts(gather(runs, given))
    assert "of 50 participants" in verdict


def test_a_line_names_the_ranks():
    shown = [result("low"), result("high"), result("twin")]
    models = gather(shown, [scores(-0.2, 0.01), scores(0.0, 0.01), scores(0.0, 0.01)])
    (line,) = ranks_line(models)
    assert "high 1-2, twin 1-2, low 3; Kendall's tau" in line
    assert [(row.model, row.ranks) for row in ranked_models(models)][-1] == ("low", (3, 3))
    assert ranks_line(models[:2]) == []


def learnt(name: str, seed: int, error: float | None) -> SimpleNamespace:
    """A run that was trained by gradients, with a healthy validation error."""
    run = result(name, seed=seed)
    run.training, run.model.reconstructs, run.headline.validation_mse = SimpleNamespace(), True, error
    return run


def test_failed_trainings_are_counted_and_do_not_count():
    mean = learnt("mean", 0, 0.002)
    mean.training = None
    runs = [learnt("net", 0, 0.001), learnt("net", 1, 0.002), learnt("lost", 0, None), mean, result("zscore")]
    given = [scores(0.1), scores(-0.4), scores(0.3), scores(0.01), scores(0, 0)]
    net, lost, *_ = models = gather(runs, given)
    np.testing.assert_allclose(net.values, scores(0.1).sort_index().to_numpy()[None])
    assert (net.failed, net.runs, lost.failed, lost.runs, lost.sound) == (1, 2, 1, 1, False)
    assert [verdict.model for verdict in verdicts_of(models)] == ["net", "mean"]
    assert [(row.model, row.ranks is None) for row in ranked_models(models)][-1] == ("lost", True)
    (own, all_failed) = summaries(models)
    assert own.startswith("net: ") and "1 of 2 failed" in own
    assert all_failed.startswith("lost: no rank") and "1 of 1 failed" in all_failed
    assert "lost" not in ranks_line(models)[0]


def test_one_training_each_is_said():
    both = [learnt("net", 0, 0.001), result("zscore")]
    assert ONE_TRAINING in verdicts(gather(both, [scores(0.1), scores(0, 0)]))[0]
    fitted = [result("pca"), result("zscore")]
    assert ONE_TRAINING not in verdicts(gather(fitted, [scores(0.1), scores(0, 0)]))[0]


def test_one_participant_is_no_comparison():
    models = gather([result("a"), result("zscore")], [scores(0.1)[:1], scores(0, 0)[:1]])
    assert verdicts(models) == ["a: cannot be compared with zscore (participants: 1)"]


def test_for_programs():
    (verdict,) = verdicts_of(gather([result("a"), result("zscore")], [scores(0.1), scores(0, 0)]))
    told = verdict.to_json()
    assert told["word"] == "beats" and told["difference"]["low"] > 0 and 0 < told["effect"] <= 1
    assert json.loads(json.dumps(told)) == told


def test_a_difference_that_another_seed_does_not_show_is_no_difference():
    seeds = [result("a", seed=0), result("a", seed=1), result("zscore")]
    steady = verdicts(gather(seeds, [scores(0.05), scores(0.05), scores(0, 0)]))
    lucky = verdicts(gather(seeds, [scores(0.2), scores(-0.1), scores(0, 0)]))
    assert steady[0].startswith("a beats zscore: +0.0")
    assert lucky[0].startswith("a does not differ significantly from zscore")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0124, "+0.012"), (-0.4521, "-0.452"), (0.00031, "+3.1e-04"), (-0.00004, "-4.0e-05"), (0.0, "+0.000")],
)
def test_a_small_difference_is_no_zero(value: float, shown: str) -> None:
    assert signed(value) == shown
