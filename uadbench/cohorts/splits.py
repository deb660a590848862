"""Who trains, who validates, who tests: participants, never scans, stratified by sex and age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uadbench.errors import InputError
from uadbench.store import content_hash, keyed_seed

if TYPE_CHECKING:
    import pandas as pd

AGE_STRATA = 4


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


def split_participants(
    table: pd.DataFrame, *, healthy: str, train: int, validation: int, test: int, folds: int, fold: int, seed: int
) -> Split:
    """Divide the healthy participants of a cohort.

    The test participants are the same in every fold. The others are cut into `folds` runs;
    run `fold` gives at most `validation` validation participants, and at most `train` of all the
    remaining ones train. Every set has the proportions of sex and age quartiles of the whole; the
    answer depends on the ids and the seed, not on the order of rows.

    Parameters
    ----------
    table : one row a scan with participant_id, session_id, group, age, sex
    healthy : the `group` of healthy participants

    Raises InputError if there are too few participants, or the fold does not exist.
    """
    if not 0 <= fold < folds:
        raise InputError(f"fold {fold} does not exist; this protocol has folds 0 to {folds - 1}")
    order = _stratified_order(baseline(table[table["group"] == healthy]), seed)
    pool = order[test:]
    runs = np.array_split(np.array(pool, dtype=object), folds)
    run = list(runs[fold])
    # the paper's 271 participants in 8 folds leave one fold with 33: one short is no error
    needed = test + max(train + validation, folds * (validation - 1))
    if len(order) < needed:
        raise InputError(
            f"the cohort has {len(order)} healthy participants (group '{healthy}'), but the split needs "
            f"{needed} ({train} train, {validation} validation, "
            f"{test} test, {folds} folds); choose a smaller protocol, or --set protocol.split.train=N and so on"
        )
    validating = run[:validation]
    chosen = set(validating)
    training = [person for person in pool if person not in chosen]
    training = training[: train + validation - len(validating)]
    return Split(tuple(sorted(training)), tuple(sorted(validating)), tuple(sorted(order[:test])))


def baseline(table: pd.DataFrame) -> pd.DataFrame:
    """The first session of every participant, sorted by participant."""
    ordered = table.sort_values(["participant_id", "session_id"], kind="stable")
    return ordered.drop_duplicates("participant_id").reset_index(drop=True)


def _stratified_order(people: pd.DataFrame, seed: int) -> list[str]:
    """Order participants so that every run of consecutive ones is stratified.

    Within a stratum the order is random by a hash of (seed, id); member j of n stands at
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
        members.sort(key=lambda person: (keyed_seed("split", seed, person), person))
        offset = keyed_seed("stratum", seed, *stratum) / 2**63
        line += [((j + offset) / len(members), person) for j, person in enumerate(members)]
    return [person for _, person in sorted(line)]
