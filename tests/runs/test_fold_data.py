"""Who trains, validates and tests: by the protocol, in its proportions, as listed, or on another cohort."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.cohorts.base import COLUMNS, keys_of
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import scan_path
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.secrecy import secret_of
from uadbench.cohorts.splits.listed import Fold, GivenSplit
from uadbench.cohorts.splits.roles import Roles
from uadbench.cohorts.splits.split import baseline
from uadbench.errors import InputError
from uadbench.launch.local import run_here
from uadbench.models.checkpoint import CURVE, WEIGHTS
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import PARTS, FoldData, Selection, plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent
from uadbench.types import Grid, Scan

SMOKE = load_protocol("smoke")
FAST = load_protocol("smoke", {"testsets.anomalies": "['ad']", "testsets.severities": "[0.3]"})
ALL = load_protocol("smoke", {"split.sessions": "'all'"})


class Heard(Silent):
    """Progress that remembers its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class Renamed(Phantom):
    """The phantom's people in another hospital, under other names; their images are the same."""

    def __init__(self, prefix: str = "sub-X", **options: int) -> None:
        super().__init__(**options)
        self.name, self.public, self.prefix = "renamed", False, prefix
        self.participants = self.participants.assign(
            participant_id=self.participants.participant_id.str.replace("sub-", prefix, regex=False)
        )

    def _known(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(participant_id=rows.participant_id.str.replace(self.prefix, "sub-", regex=False))

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        return super().scan_keys(self._known(rows))

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        for scan, name in zip(super().scans(grid, self._known(rows)), rows.participant_id, strict=True):
            yield replace(scan, participant=name)


def people(fold_data: FoldData) -> dict[str, set[str]]:
    return {part: set(fold_data.rows[part]["participant_id"]) for part in PARTS}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


# --- by the protocol, or in its proportions


def test_the_protocols_sizes(phantom) -> None:
    for fold in range(3):
        found = plan_fold(phantom, ALL, fold)
        sizes = {part: len(names) for part, names in people(found).items()}
        assert (
            sizes == {"train": 24, "validation": 12, "test": 8, "patients": 24, "audit": 24}
            and found.origin == "protocol"
        )
        assert len(found.rows["train"]) > 24, "all sessions of those who train"
        for part in PARTS[1:]:
            assert set(found.rows[part].session_id) == {"ses-M000"}
        assert len(set.union(*people(found).values())) == sum(sizes.values())
        assert found.split.train == tuple(sorted(people(found)["train"]))


def test_a_smaller_cohort_is_scaled_and_told() -> None:
    found = plan_fold(Phantom(participants=20, patients=3), SMOKE, 0)
    assert found.origin == "scaled" and {part: len(names) for part, names in people(found).items()} == {
        "train": 11, "validation": 5, "test": 4, "patients": 6, "audit": 0,
    }  # fmt: skip
    *_, last = found.summary()
    assert last.startswith("fold 0: 11 train (11 scans), 5 validate, 4 test, 6 patients (proportions")


def test_a_cohort_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="15 healthy participants are too few for 3 folds"):
        plan_fold(Phantom(participants=15), SMOKE, 0)


def test_diagnoses_are_the_users(phantom) -> None:
    swapped = plan_fold(phantom, SMOKE, 0, selection=Selection(healthy=("ad",), patients=("CN",)))
    assert swapped.roles == Roles(("ad",), ("CN",))
    groups = {part: set(rows["group"]) for part, rows in swapped.rows.items()}
    assert groups == {"train": {"AD"}, "validation": {"AD"}, "test": {"AD"}, "patients": {"CN"}, "audit": {"AD"}}
    with pytest.raises(InputError, match="no scan has the diagnosis NC"):
        plan_fold(phantom, SMOKE, 0, selection=Selection(healthy=("NC",)))


def test_the_summary_counts_everybody(phantom) -> None:
    first, last = plan_fold(phantom, SMOKE, 1).summary()
    assert first.startswith("cohort phantom: CN 701 participants, ")
    assert "AD 80 participants" in first and "MCI 80 participants" in first
    assert last.startswith("fold 1: 24 train (24 scans), 12 validate, 8 test, 24 patients, 24 in the bias audit (")


# --- as listed


@pytest.fixture(scope="module")
def listed(phantom) -> Callable[..., GivenSplit]:
    """A split of the phantom's first people: 10 train (all sessions), 5 validate, 6 test; some patients among them."""
    table = phantom.participants

    def keys(first: int, last: int, letter: str = "P", sessions: str = "first") -> tuple[tuple[str, str], ...]:
        rows = table[table.participant_id.isin([f"sub-{letter}{k:04d}" for k in range(first, last)])]
        return tuple(keys_of(baseline(rows) if sessions == "first" else rows))

    def make(patients: int = 4, extra: tuple[tuple[str, str], ...] = ()) -> GivenSplit:
        fold = Fold(keys(1, 11, sessions="all") + keys(1, 3, "Q"), keys(1, 11), keys(11, 16) + extra)
        other = Fold(keys(6, 16, sessions="all"), keys(6, 16), keys(1, 6))
        return GivenSplit("split.json", keys(16, 22) + keys(10, 10 + patients, "Q"), (fold, other))

    return make


def names(first: int, last: int, letter: str = "P") -> set[str]:
    return {f"sub-{letter}{k:04d}" for k in range(first, last)}


def test_a_listed_split_is_followed(phantom, listed) -> None:
    told = Heard()
    found = plan_fold(phantom, ALL, 0, told, Selection(split=listed()))
    expected = {"train": names(1, 11), "validation": names(11, 16), "test": names(16, 22)}
    everyone = people(found)
    audited = everyone.pop("audit")
    assert everyone == {**expected, "patients": names(10, 14, "Q")} and found.origin == "given"
    assert len(audited) == 24 and audited <= names(22, 702), "healthy people who are not listed"
    assert len(found.rows["train"]) == phantom.participants.participant_id.isin(names(1, 11)).sum()
    assert found.summary()[-1].endswith("(as listed)") and not told.warnings
    first = plan_fold(phantom, SMOKE, 1, told, Selection(split=listed()))
    assert people(first)["train"] == names(6, 16) and people(first)["test"] == expected["test"]
    assert set(first.rows["train"].session_id) == {"ses-M000"}
    with pytest.raises(InputError, match=r"fold 2 does not exist; split\.json has folds 0 to 1"):
        plan_fold(phantom, SMOKE, 2, selection=Selection(split=listed()))


def test_where_no_patient_is_listed_it_is_those_who_are_not_listed_at_all(phantom, listed) -> None:
    everybody = load_protocol("smoke", {"split.most_patients": "500"})
    found = plan_fold(phantom, everybody, 0, selection=Selection(split=listed(patients=0)))
    others = names(3, 81, "Q") | names(1, 81, "R")
    assert people(found)["patients"] == others, "Q0001 and Q0002 are listed, for training"


def test_listed_scans_that_are_not_there_are_told(phantom, listed) -> None:
    told = Heard()
    extra = (("sub-P0011", "ses-M999"), ("sub-Z0001", "ses-M000"))
    found = plan_fold(phantom, SMOKE, 0, told, Selection(split=listed(extra=extra)))
    (warning,) = told.warnings
    assert warning.startswith("split.json: ") and "2 listed scans" in warning
    assert "phantom (sub-P0011_ses-M999, sub-Z0001_ses-M000" in warning
    assert people(found)["validation"] == names(11, 16)


def test_a_listed_part_with_hardly_anybody_is_refused(phantom, listed) -> None:
    split = listed()
    few = GivenSplit(split.source, split.test[:3], split.folds)
    with pytest.raises(InputError, match="fold 0: 3 of 3 scans listed for test are healthy scans of phantom; at least"):
        plan_fold(phantom, SMOKE, 0, selection=Selection(split=few))
    with pytest.raises(InputError, match="0 of 12 scans listed for train are healthy"):
        moved = tuple((f"x{name}", visit) for name, visit in split.folds[0].first[:10] + split.folds[0].first[:2])
        strangers = Fold(moved, moved, split.folds[0].validation)
        plan_fold(phantom, SMOKE, 0, selection=Selection(split=GivenSplit("s", split.test, (strangers,))))


# --- tested on another cohort


@pytest.mark.slow
def test_another_cohort_is_tested_on(phantom) -> None:
    other = Renamed(seed=7)
    own, found = plan_fold(phantom, SMOKE, 0), plan_fold(phantom, SMOKE, 0, None, Selection(test_cohort=other))
    for part in ("train", "validation"):
        pd.testing.assert_frame_equal(own.rows[part], found.rows[part])
    assert {part: len(found.rows[part]) for part in ("test", "patients")} == {"test": 8, "patients": 24}
    assert people(found)["test"] | people(found)["patients"] <= set(other.participants.participant_id)
    assert own.split.digest != found.split.digest and own.testset_recipe != found.testset_recipe
    assert found.summary()[1].startswith("test cohort renamed: CN 701 participants")
    assert found.shared_images == 0
    (made,) = other.scans(SMOKE.lattice, found.rows["test"].iloc[[0]])
    secret = secret_of(other)
    (scan,) = (scan for scan in found.scans("test") if scan.key == secret.key(*made.key))
    assert scan.site == secret.site(made.site) and scan.age == made.age
    np.testing.assert_array_equal(scan.data, made.data)
    assert [scan.key for scan in found.scans("test")] == sorted(scan.key for scan in found.scans("test"))


def test_two_cohorts_may_call_different_people_the_same(phantom) -> None:
    namesakes = Renamed("sub-", seed=7)
    found = plan_fold(phantom, SMOKE, 0, None, Selection(test_cohort=namesakes))
    learnt = people(found)["train"] | people(found)["validation"]
    assert learnt & set(namesakes.participants.participant_id)
    assert not learnt & set(found.split.test)


def test_a_test_cohort_without_healthy_people_is_refused(phantom) -> None:
    few = Phantom(participants=3, patients=3)
    with pytest.raises(InputError, match=r"test cohort phantom:.* has 3 healthy participants; at least 4"):
        plan_fold(phantom, SMOKE, 0, None, Selection(test_cohort=few))


@pytest.mark.slow
def test_images_that_were_learnt_from_are_counted() -> None:
    """Whatever the people are called."""
    small = Phantom(participants=20, patients=3)
    found = plan_fold(small, SMOKE, 0, None, Selection(test_cohort=Renamed(participants=20, patients=3)))
    learnt = {name.replace("sub-", "sub-X") for part in ("train", "validation") for name in people(found)[part]}
    assert found.shared_images == len(learnt & people(found)["test"]) > 0
    assert plan_fold(small, SMOKE, 0).shared_images == 0


# --- what results depend on


def test_the_recipe_is_of_who_is_tested_and_the_content_of_their_images(phantom) -> None:
    class Edited(Phantom):
        def scan_keys(self, rows: pd.DataFrame) -> list[str]:
            return [f"{key} again" for key in super().scan_keys(rows)]

    one, other = plan_fold(phantom, SMOKE, 0), plan_fold(Edited(), SMOKE, 0)
    assert one.testset_recipe == other.testset_recipe
    for parts in (PARTS[:2], PARTS[2:]):
        assert one.content(parts) == plan_fold(Phantom(), SMOKE, 0).content(parts)
        assert not set(one.content(parts)) & set(other.content(parts))


@pytest.fixture(scope="module")
def few() -> Phantom:
    return Phantom(participants=16, patients=2)


def packed(phantom: Phantom, tree: Path, level: int) -> Caps:
    """A CAPS tree of scans on the protocol's grid, packed more or less."""
    rows = baseline(phantom.participants)
    for scan in phantom.scans(FAST.lattice, rows):
        file = tree / scan_path(*scan.key)
        file.parent.mkdir(parents=True)
        raw = nibabel.Nifti1Image(scan.data, scan.affine).to_bytes()
        file.write_bytes(gzip.compress(raw, level, mtime=level))
    rows[list(COLUMNS)].rename(columns={"group": "diagnosis"}).to_csv(tree / "sessions.tsv", sep="\t", index=False)
    return Caps(tree)


@pytest.mark.slow
def test_two_labs_with_the_same_scans_have_the_same_test_sets(few, tmp_path) -> None:
    """Copies of a tree, packed and dated otherwise: the fingerprint agrees, and nothing trusts the other's weights."""
    one, other = (plan_fold(packed(few, tmp_path / f"lab{level}", level), FAST, 0) for level in (1, 9))
    assert one.cohort.name == other.cohort.name and one.split == other.split
    assert one.testset_recipe == other.testset_recipe and one.cases.sketch == other.cases.sketch
    assert Run("mean", one, 0).fit_key != Run("mean", other, 0).fit_key
    assert Run("mean", one, 0).eval_key != Run("mean", other, 0).eval_key
    assert Run("mean", one, 0).fit_key == Run("mean", plan_fold(Caps(tmp_path / "lab1"), FAST, 0), 0).fit_key
    file = other.cohort.files(other.rows["train"])[0]
    before = Run("mean", other, 0).fit_key
    os.utime(file, ns=(1, 1))
    assert Run("mean", plan_fold(other.cohort, FAST, 0), 0).fit_key != before


# --- as runs


@pytest.mark.slow
def test_weights_are_trained_once_for_every_test_cohort(few, tmp_path) -> None:
    """Tested at home and elsewhere, a model is the same: its files are copied, and the first stay as they are."""
    elsewhere = Renamed(seed=7, participants=12, patients=2)
    home, away = (plan_fold(few, FAST, 0, None, Selection(test_cohort=other)) for other in (None, elsewhere))
    runs = [Run("mean", fold_data, 0) for fold_data in (home, away)]
    assert runs[0].fit_key == runs[1].fit_key and runs[0].eval_key != runs[1].eval_key
    first = complete(runs[0], tmp_path, torch.device("cpu"), Silent())
    known = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.folder.iterdir() if path.is_file()}
    assert runs[1].state(tmp_path) == "to do"
    second = complete(runs[1], tmp_path, torch.device("cpu"), Silent())
    assert known == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in known}
    for name in (CURVE, WEIGHTS):  # the curve holds the seconds that the training took
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes(), name
    assert second.result.cost.train_seconds == first.result.cost.train_seconds
    assert second.folder.name == first.folder.name and second.folder.parents[2].name == (
        "phantom-participants-16-patients-2--renamed"
    )
    card, own = second.result.cohort, first.result.cohort
    assert (card.name, card.tested_on, card.tested_version) == (few.name, "renamed", elsewhere.version)
    assert (own.tested_on, own.tested_version) == (None, None) and own.public and not card.public
    assert (card.train, card.validation, card.test, card.patients) == (own.train, own.validation, 8, 4)
    assert card.split != own.split and second.result.testset.recipe != first.result.testset.recipe


@pytest.mark.slow
def test_a_run_warns_of_images_that_it_learns_from(few, tmp_path) -> None:
    """A scan that was copied under another name, into the test set."""
    table = few.participants
    plain = plan_fold(few, FAST, 0)
    copied = plain.rows["train"].iloc[[0]].assign(participant_id=plain.rows["test"].participant_id.iloc[0])

    class Copied(Phantom):
        """The first test participant's scan is that of somebody who trains."""

        def _true(self, rows: pd.DataFrame) -> pd.DataFrame:
            found = rows.reset_index(drop=True)
            same = found.participant_id == copied.participant_id.iloc[0]
            found.loc[same, ["participant_id", "session_id"]] = keys_of(plain.rows["train"])[0]
            return found

        def scan_keys(self, rows: pd.DataFrame) -> list[str]:
            return super().scan_keys(self._true(rows))

        def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
            for scan, (name, visit) in zip(super().scans(grid, self._true(rows)), keys_of(rows), strict=True):
                yield replace(scan, participant=name, session=visit)

    cohort = Copied(participants=16, patients=2)
    cohort.name = "copied"
    assert cohort.participants.equals(table)
    told = Heard()
    sweep = run_here([Run("mean", plan_fold(cohort, FAST, 0), 0)], tmp_path, torch.device("cpu"), None, told)
    assert sweep.outcomes[0].result.cohort.shared_images == 1
    (warning,) = [text for text in told.warnings if "identical to scans" in text]
    assert warning.startswith("1 test scans are") and "uadbench cohort check" in warning
    clean = run_here([Run("mean", plain, 0)], tmp_path, torch.device("cpu"), None, quiet := Heard())
    assert clean.outcomes[0].result.cohort.shared_images == 0 and not quiet.warnings


def test_patients_are_limited_by_diagnosis() -> None:
    cohort = Phantom(participants=20, patients=6)
    few = load_protocol("smoke", {"split.most_patients": "4"})
    assert few.split.patients == ("AD", "MCI")
    rows = plan_fold(cohort, few, 0).rows["patients"]
    assert rows["group"].value_counts().to_dict() == {"AD": 4, "MCI": 4}
    alone = plan_fold(cohort, few, 0, selection=Selection(patients=("mci",))).rows["patients"]
    assert list(alone["participant_id"]) == list(rows.loc[rows["group"] == "MCI", "participant_id"])
    others = plan_fold(cohort, few, 0, selection=Selection(healthy=("CN", "MCI")))
    assert others.roles.patients == ("AD",) and set(others.rows["patients"]["group"]) == {"AD"}
