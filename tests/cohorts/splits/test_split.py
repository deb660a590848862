"""Splits: participants only, stratified, the same whatever the row order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from uadbench.cohorts.splits.split import LEAST, Sizes, Split, fitting_sizes, split_participants
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


PAPER = {"train": 237, "validation": 34, "test": 30, "folds": 8, "seed": 1}


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


def test_unknown_age_and_sex_are_taken() -> None:
    rows = table(310)
    rows.loc[5:9, "age"] = np.nan
    rows.loc[5:9, "sex"] = ""
    split = split_participants(rows, **PAPER, fold=0)
    everyone = {*split.train, *split.validation, *split.test}
    assert len(everyone) == 301 and everyone & {f"sub-{i:04d}" for i in range(5, 10)}
    rows["age"] = np.nan
    assert len(split_participants(rows, **PAPER, fold=0).test) == 30


def test_a_participant_is_stratified_by_his_first_session() -> None:
    rows = table(310, sessions=3)
    first = rows[rows["session_id"] == "ses-M000"]
    assert split_participants(rows, **PAPER, fold=2) == split_participants(first, **PAPER, fold=2)


# a cohort that is too small


SIZES = {name: PAPER[name] for name in ("train", "validation", "test", "folds")}


@pytest.mark.parametrize("count", [301, 302, 5000])
def test_who_has_enough_people_gets_what_is_asked_for(count: int) -> None:
    assert fitting_sizes(count, **SIZES) == Sizes(237, 34, 30)


def test_the_papers_cohort_is_just_enough() -> None:
    assert fitting_sizes(300, **SIZES).scaled and not fitting_sizes(301, **SIZES).scaled


def test_a_smaller_cohort_is_divided_in_the_same_proportions() -> None:
    assert fitting_sizes(150, **SIZES) == Sizes(120, 16, 14, scaled=True)
    assert fitting_sizes(40, train=20, validation=20, test=40, folds=1) == Sizes(10, 10, 20, scaled=True)


shapes = st.fixed_dictionaries(
    {
        "train": st.integers(1, 300),
        "validation": st.integers(4, 60),
        "test": st.integers(1, 60),
        "folds": st.integers(1, 8),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), shapes)
def test_sizes_of_any_cohort_fit_and_leave_no_part_empty(count: int, shape: dict[str, int]) -> None:
    try:
        sizes = fitting_sizes(count, **shape)
    except InputError:
        reject()
    parts = (sizes.train, sizes.validation, sizes.test)
    if not sizes.scaled:
        assert parts == (shape["train"], shape["validation"], shape["test"])
        return
    assert sum(parts) == count and min(parts) >= LEAST
    rows = table(count)
    splits = [split_participants(rows, **shape, fold=fold, seed=1) for fold in range(shape["folds"])]
    assert len({split.test for split in splits}) == 1 and len(splits[0].test) == sizes.test
    validated = [person for split in splits for person in split.validation]
    assert len(set(validated)) == len(validated)
    for split in splits:
        assert len(split.validation) == sizes.validation and len(split.train) == sizes.train


@pytest.mark.parametrize(
    ("count", "train", "validation", "test", "folds"), [(12, 1, 4, 7, 2), (40, 1, 4, 60, 1), (12, 4, 40, 4, 1)]
)
def test_who_has_as_many_as_it_takes_is_not_refused(
    count: int, train: int, validation: int, test: int, folds: int
) -> None:
    sizes = fitting_sizes(count, train=train, validation=validation, test=test, folds=folds)
    assert min(sizes.train, sizes.validation, sizes.test) >= LEAST


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 300), st.integers(0, 7))
def test_nobody_of_a_smaller_cohort_is_in_two_parts(seed: int, count: int, fold: int) -> None:
    split = split_participants(table(count, seed), **{**PAPER, "seed": seed}, fold=fold)
    everyone = [*split.train, *split.validation, *split.test]
    assert len(everyone) == len(set(everyone)) == count
    assert abs(len(split.test) - 30 / 301 * count) <= LEAST


def test_too_few_participants_or_no_such_fold() -> None:
    with pytest.raises(InputError, match=r"35 healthy participants .* 8 folds; at least 36"):
        split_participants(table(35), **PAPER, fold=0)
    with pytest.raises(InputError, match=r"11 healthy participants .* 1 folds; at least 12"):
        split_participants(table(11), **{**PAPER, "folds": 1}, fold=0)
    with pytest.raises(InputError, match="fold 8 does not exist"):
        split_participants(table(301), **PAPER, fold=8)
