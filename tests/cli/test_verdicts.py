"""Verdicts: what is said of a model beside the z-score."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from uadbench.cli.verdicts import intervals, verdicts


def result(name: str, fold: int = 0) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(name=name), fold=fold, seed=0)


def scores(shift: float, noise: float = 0.05) -> pd.Series:
    rng = np.random.default_rng(1)
    people = [f"sub-{k}" for k in range(50)]
    return pd.Series(
        0.6 + 0.05 * rng.normal(size=50) + shift + noise * np.random.default_rng(2).normal(size=50), people
    )


def test_each_word():
    shown = [result("better"), result("worse"), result("same"), result("copy"), result("zscore")]
    given = [scores(0.1), scores(-0.1), scores(0.0), scores(0, 0), scores(0, 0)]
    better, worse, same, copy = verdicts(shown, given)
    assert better.startswith("better beats zscore: +0.1") and "p < .001" in better
    assert worse.startswith("worse is worse than zscore: -0.") and "of 50 participants" in worse
    assert same.startswith("same cannot be told apart from zscore: ") and ", p = " in same
    assert copy == "copy: cannot be compared with zscore (no participant differs)"


def test_participants_are_matched_by_name():
    shuffled = scores(0.1).sample(frac=1, random_state=3)
    assert verdicts([result("a"), result("zscore")], [shuffled, scores(0, 0)]) == verdicts(
        [result("a"), result("zscore")], [scores(0.1), scores(0, 0)]
    )


def test_no_baseline_no_verdict():
    assert verdicts([result("a"), result("zscore", fold=1)], [scores(0), scores(0)]) == []
    assert intervals([scores(0)])[0].low < 0.6 < intervals([scores(0)])[0].high
