"""Splits: participants only, stratified, the same whatever the row order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.cohorts.splits import Split, split_participants
from uadbench.errors import InputError


def table(count: int, seed: int = 0, sessions: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(73, 7, count), rng.choice(["F", "M"], count)
    rows = [
        (f"sub-{i:04d}", f"ses-M{12 * s:03d}", "CN", age[i] + s, sex[i], "")
        for i in range(count)
        for s in range(sessions)
    ]
    return pd.DataFrame(rows, columns=["participant_id", "session_id", "group", "age", "sex", "site"])


PAPER = {"healthy": "CN", "train": 237, "validation": 34, "test": 30, "folds": 8, "seed": 1}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7), st.integers(301, 420), st.integers(1, 3))
def test_no_participant_is_in_two_parts(seed: int, fold: int, count: int, sessions: int) -> None:
    split = split_participants(table(count, seed, sessions), **{**PAPER, "seed": seed}, fold=fold)
    parts = [set(split.train), set(split.validation), set(split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert len(split.test) == 30
    assert len(split.validation) in {33, 34}
    assert len(split.train) + len(split.validation) == 271


def test_a_leaking_split_cannot_be_made() -> None:
    with pytest.raises(InputError, match="participant b is in two parts"):
        Split(("a", "b"), ("b",), ("c",))


def test_row_order_changes_nothing() -> None:
    rows = table(310, sessions=2)
    shuffled = rows.sample(frac=1, random_state=3)
    assert split_participants(rows, **PAPER, fold=2) == split_participants(shuffled, **PAPER, fold=2)


def test_folds_share_the_test_set_and_cover_the_rest() -> None:
    splits = [split_participants(table(301), **PAPER, fold=fold) for fold in range(8)]
    assert {split.test for split in splits} == {splits[0].test}
    validated = [person for split in splits for person in split.validation]
    assert len(set(validated)) == len(validated) == 271


def test_every_part_is_stratified() -> None:
    rows = table(401)
    split = split_participants(rows, **{**PAPER, "test": 100, "validation": 64, "folds": 4}, fold=0)
    people = rows.set_index("participant_id")
    for part in (split.train, split.validation, split.test):
        assert abs((people.loc[list(part)]["sex"] == "F").mean() - (people["sex"] == "F").mean()) < 0.03
        for quantile in (0.25, 0.5, 0.75):
            below = (people.loc[list(part)]["age"] < people["age"].quantile(quantile)).mean()
            assert abs(below - quantile) < 0.04


def test_another_seed_gives_another_split() -> None:
    first, second = (split_participants(table(301), **{**PAPER, "seed": seed}, fold=0) for seed in (1, 2))
    assert first.test != second.test
    assert first.digest != second.digest


def test_other_groups_are_left_out_and_unknown_age_is_taken() -> None:
    rows = table(310)
    rows.loc[:4, "group"] = "AD"
    rows.loc[5:9, "age"] = np.nan
    rows.loc[5:9, "sex"] = ""
    split = split_participants(rows, **PAPER, fold=0)
    everyone = {*split.train, *split.validation, *split.test}
    assert not everyone & {f"sub-{i:04d}" for i in range(5)}


def test_too_few_participants_or_no_such_fold() -> None:
    with pytest.raises(InputError, match=r"has 60 healthy participants .* needs 301"):
        split_participants(table(60), **PAPER, fold=0)
    with pytest.raises(InputError, match="fold 8 does not exist"):
        split_participants(table(301), **PAPER, fold=8)
