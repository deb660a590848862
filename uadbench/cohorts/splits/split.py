"""Who trains, who validates, who tests: participants, never scans, stratified by sex and age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uadbench.errors import InputError
from uadbench.runtime.files import content_hash, keyed_seed

if TYPE_CHECKING:
    import pandas as pd

AGE_STRATA = 4
LEAST = 4
"""Every part of a split has so many participants at least."""


@dataclass(frozen=True)
class Split:
    """Disjoint sets of participant ids, each sorted. One that shares a participant cannot be made."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        everyone = [*self.train, *self.validation, *self.test]
        if len(set(everyone)) != len(everyone):
            shared = sorted({p for p in everyone if everyone.count(p) > 1})
            raise InputError(f"participant {shared[0]} is in two parts of the split; every person belongs to one")

    @property
    def digest(self) -> str:
        """A hash of who is where."""
        return content_hash(list(self.train), list(self.validation), list(self.test))


@dataclass(frozen=True)
class Sizes:
    """How many participants train, validate and test; `scaled` if the cohort is too small for what was asked."""

    train: int
    validation: int
    test: int
    scaled: bool = False


def fitting_sizes(count: int, *, train: int, validation: int, test: int, folds: int) -> Sizes:
    """What `count` healthy participants give: what is asked for, or, of a smaller cohort, the same proportions.

    Raises:
        InputError: Where a part of any fold would have fewer than LEAST participants.
    """
    # the paper's 271 participants in 8 folds leave one fold with 33: one short is no error
    needed = test + max(train + validation, folds * (validation - 1))
    if count >= needed:
        return Sizes(train, validation, test)
    others = LEAST * max(folds, 2)  # every fold's validation, and somebody to train
    if count < LEAST + others:
        least = LEAST + others
        raise InputError(f"{count} healthy participants are too few for {folds} folds, which take {least} at least")
    testing = max(LEAST, min(test * count // needed, count - others))
    pool = count - testing
    validating = min(max(LEAST, validation * count // needed), pool // folds, pool - LEAST)
    return Sizes(pool - validating, validating, testing, scaled=True)


def split_participants(
    people: pd.DataFrame,
    *,
    train: int,
    validation: int,
    test: int,
    folds: int,
    fold: int,
    seed: int,
    known_as: Callable[[str], str] = str,
) -> Split:
    """Divide the healthy participants of a cohort.

    The test participants are the same in every fold. The others are cut into `folds` runs;
    run `fold` gives at most `validation` validation participants, and at most `train` of all the
    remaining ones train. Every set has the proportions of sex and age quartiles of the whole; the
    answer depends on the ids and the seed, not on the order of rows. A cohort that is too small is divided
    in the same proportions (see `fitting_sizes`).

    Args:
        people: The healthy scans, one row each, with participant_id, session_id, age, sex.
        known_as: The name by which a participant is drawn; of a private cohort, one that nobody else can make.

    Raises:
        InputError: If there are too few participants, or the fold does not exist.
    """
    if not 0 <= fold < folds:
        raise InputError(f"fold {fold} does not exist; there are folds 0 to {folds - 1}")
    order = stratified_order(baseline(people), seed, known_as)
    sizes = fitting_sizes(len(order), train=train, validation=validation, test=test, folds=folds)
    pool = order[sizes.test :]
    runs = np.array_split(np.array(pool, dtype=object), folds)
    validating = list(runs[fold])[: sizes.validation]
    chosen = set(validating)
    training = [person for person in pool if person not in chosen]
    training = training[: sizes.train + sizes.validation - len(validating)]
    return Split(tuple(sorted(training)), tuple(sorted(validating)), tuple(sorted(order[: sizes.test])))


def baseline(table: pd.DataFrame) -> pd.DataFrame:
    """The first session of every participant, sorted by participant."""
    ordered = table.sort_values(["participant_id", "session_id"], kind="stable")
    return ordered.drop_duplicates("participant_id").reset_index(drop=True)


def stratified_order(people: pd.DataFrame, seed: int, known_as: Callable[[str], str] = str) -> list[str]:
    """Order participants so that every run of consecutive ones is stratified.

    Within a stratum the order is random by a hash of (seed, `known_as` of the id); member j of n stands at
    (j + u) / n of the whole line, u being a random offset of its stratum.
    """
    known = people["age"].dropna()
    edges = np.quantile(known, np.linspace(0, 1, AGE_STRATA + 1)[1:-1]) if len(known) else np.empty(0)
    strata: dict[tuple[str, int], list[str]] = {}
    for person, age, sex in zip(people["participant_id"], people["age"], people["sex"], strict=True):
        quartile = -1 if np.isnan(age) else int(np.searchsorted(edges, age, side="right"))
        strata.setdefault((str(sex), quartile), []).append(str(person))
    line: list[tuple[float, str]] = []
    for stratum, members in strata.items():
        members.sort(key=lambda person: (keyed_seed("split", seed, known_as(person)), person))
        offset = keyed_seed("stratum", seed, *stratum) / 2**63
        line += [((j + offset) / len(members), person) for j, person in enumerate(members)]
    return [person for _, person in sorted(line)]
