"""Division of healthy participants into training, validation and test sets, stratified by sex and age."""

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
"""The smallest number of participants in each part of a split."""


@dataclass(frozen=True)
class Split:
    """Disjoint sets of participants, each sorted.

    Attributes:
        train: The training participants.
        validation: The validation participants.
        test: The test participants.
        audit: Further healthy participants for the bias audit.

    Raises:
        InputError: If a participant is in two sets.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    audit: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        everyone = [*self.train, *self.validation, *self.test, *self.audit]
        if len(set(everyone)) != len(everyone):
            shared = sorted({p for p in everyone if everyone.count(p) > 1})
            raise InputError(f"participant {shared[0]} is in two parts of the split; each participant belongs to one")

    @property
    def digest(self) -> str:
        """A hash of the training, validation and test participants."""
        return content_hash(list(self.train), list(self.validation), list(self.test))


@dataclass(frozen=True)
class Sizes:
    """The numbers of participants.

    Attributes:
        train: The number of training participants.
        validation: The number of validation participants.
        test: The number of test participants.
        scaled: Whether the requested numbers were reduced because the cohort is too small.
    """

    train: int
    validation: int
    test: int
    scaled: bool = False


def fitting_sizes(count: int, *, train: int, validation: int, test: int, folds: int) -> Sizes:
    """Reduce the numbers of participants in proportion if the cohort is too small.

    Args:
        count: The number of healthy participants.
        train: The requested number of training participants.
        validation: The requested number of validation participants.
        test: The requested number of test participants.
        folds: The number of folds.

    Returns:
        The numbers.

    Raises:
        InputError: If a part of a fold would have fewer than LEAST participants.
    """
    # in the paper, 271 participants in 8 folds leave 33 for one fold, so one fewer than requested is allowed
    needed = test + max(train + validation, folds * (validation - 1))
    if count >= needed:
        return Sizes(train, validation, test)
    others = LEAST * max(folds, 2)  # the validation sets of all folds, and at least one training set
    if count < LEAST + others:
        least = LEAST + others
        raise InputError(f"{count} healthy participants are too few for {folds} folds; at least {least} are needed")
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
    audit: int = 0,
    known_as: Callable[[str], str] = str,
) -> Split:
    """Divide the healthy participants of a cohort.

    The test participants are the same in all folds. The others are divided into `folds` groups; the validation
    participants come from group `fold`, and the training participants from all others. Each set has the same
    proportions of sex and age quartiles as the cohort. The result depends on identifiers and the seed, but not on the
    order of rows. If the cohort is too small, the proportions of the sets are kept (see `fitting_sizes`).

    Args:
        people: The healthy scans, one row each, with participant_id, session_id, age and sex.
        train: The largest number of training participants.
        validation: The largest number of validation participants.
        test: The number of test participants.
        folds: The number of folds.
        fold: The fold, from 0.
        seed: The seed of the division.
        audit: The largest number of participants for the bias audit, who remain after the other sets are complete.
        known_as: A function from a participant's identifier to the name that is used in random draws. For a private
            cohort it is a pseudonym, which requires the cohort's secret.

    Returns:
        The split.

    Raises:
        InputError: If there are too few participants, or the fold does not exist.
    """
    if not 0 <= fold < folds:
        raise InputError(f"fold {fold} does not exist; there are folds 0 to {folds - 1}")
    order = stratified_order(baseline(people), seed, known_as)
    sizes = fitting_sizes(len(order), train=train, validation=validation, test=test, folds=folds)
    pool = order[sizes.test :]
    groups = np.array_split(np.array(pool, dtype=object), folds)
    validating = list(groups[fold])[: sizes.validation]
    chosen = set(validating)
    others = [person for person in pool if person not in chosen]
    count = sizes.train + sizes.validation - len(validating)
    parts = others[:count], validating, order[: sizes.test], others[count : count + audit]
    return Split(*(tuple(sorted(part)) for part in parts))


def baseline(table: pd.DataFrame) -> pd.DataFrame:
    """Select the first session of each participant.

    Args:
        table: Rows with participant_id and session_id.

    Returns:
        One row per participant, sorted.
    """
    ordered = table.sort_values(["participant_id", "session_id"], kind="stable")
    return ordered.drop_duplicates("participant_id").reset_index(drop=True)


def stratified_order(people: pd.DataFrame, seed: int, known_as: Callable[[str], str] = str) -> list[str]:
    """Order participants so that any sequence of consecutive participants is stratified by sex and age.

    Within a stratum, the order is given by a hash of the seed and the name. Member j of the n members of a stratum has
    the position (j + u) / n in the whole order, where u is a random offset of the stratum.

    Args:
        people: One row per participant, with participant_id, age and sex.
        seed: The seed.
        known_as: As in `split_participants`.

    Returns:
        The participants in order.
    """
    ages = people["age"].dropna()
    edges = np.quantile(ages, np.linspace(0, 1, AGE_STRATA + 1)[1:-1]) if len(ages) else np.empty(0)
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
