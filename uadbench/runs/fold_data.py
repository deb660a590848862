"""Decides who trains, validates and tests in a fold, and supplies their scans."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from uadbench.cohorts.base import KEY, STRATA, Cohort, content_key, keys_of, visits_of
from uadbench.cohorts.batches import Batches
from uadbench.cohorts.file_cohort import FileCohort
from uadbench.cohorts.intake import ScanStack, gather
from uadbench.cohorts.secrecy import Secret, salt_file, secret_of
from uadbench.cohorts.secrecy import identity as identity_of
from uadbench.cohorts.simulated import AlteredScans
from uadbench.cohorts.splits.listed import Fold, GivenSplit, Key, select, write_split
from uadbench.cohorts.splits.roles import Roles
from uadbench.cohorts.splits.split import LEAST, Split, baseline, fitting_sizes, split_participants, stratified_order
from uadbench.errors import InputError, Unfinished
from uadbench.protocols.schema import Protocol, SplitSection, is_shipped
from uadbench.runtime.files import content_hash, keyed_seed
from uadbench.runtime.plurals import counted
from uadbench.runtime.progress import Progress, Silent
from uadbench.simulation.regions import dementia
from uadbench.simulation.shifts import shift_named
from uadbench.simulation.testset import SimulatedCases, draw
from uadbench.types import UNSEEN, Scan

PARTS = ("train", "validation", "test", "patients", "audit")
TRAINING, TESTING, AUDITING = PARTS[:2], PARTS[2:4], PARTS[4:]

Origin = Literal["protocol", "scaled", "given"]
"""Origin of a split: the protocol's sizes, the same proportions for a smaller cohort, or the user's list."""


@dataclass(frozen=True)
class Selection:
    """What the user selects besides cohort and protocol.

    Attributes:
        healthy: Diagnoses of healthy participants; if empty, those of the protocol.
        patients: Diagnoses of patients; if empty, those of the protocol.
        split: A list of the participants of each part.
        test_cohort: Another cohort, for testing.
        simulated: A tree of altered scans of test participants.
    """

    healthy: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    split: GivenSplit | None = None
    test_cohort: Cohort | None = None
    simulated: Path | None = None


@dataclass(frozen=True)
class FoldData:
    """The training, validation and test participants of a fold, and their scans on the protocol's grid.

    `rows` contain the ids of the cohort. Scans, and everything that is drawn or scored for them, have the names that
    results use. For a private cohort these are hashes with its secret, so that nothing can be derived from an id.

    Attributes:
        cohort: The cohort for training and validation.
        test_cohort: The cohort for testing; usually the same.
        protocol: The protocol.
        fold: Number of the fold, from 0.
        roles: The diagnoses of healthy participants and of patients.
        split: The participants of each part.
        origin: Origin of the split.
        rows: Rows of the cohort's table for each of PARTS; `patients` and `audit` may be empty.
        progress: Reports progress while scans are read.
        altered: Altered scans of test participants, from another tool.
    """

    cohort: Cohort
    test_cohort: Cohort
    protocol: Protocol
    fold: int
    roles: Roles
    split: Split
    origin: Origin
    rows: dict[str, pd.DataFrame]
    progress: Progress = field(repr=False, compare=False)
    altered: AlteredScans | None = None

    @cached_property
    def _stacks(self) -> dict[str, ScanStack]:
        if self.test_cohort is self.cohort:
            stacks = self._gathered(self.cohort, PARTS)
        else:
            stacks = self._gathered(self.cohort, TRAINING) | self._gathered(self.test_cohort, TESTING + AUDITING)
        return stacks

    def _gathered(self, cohort: Cohort, parts: tuple[str, ...]) -> dict[str, ScanStack]:
        rows = pd.concat([self.rows[part] for part in parts]).sort_values(list(KEY), kind="stable")
        stack = gather(cohort, self.protocol.lattice, rows.reset_index(drop=True), self.progress)
        keys = pd.MultiIndex.from_frame(stack.rows[list(KEY)])
        chosen = {part: pd.MultiIndex.from_frame(self.rows[part][list(KEY)]) for part in parts}
        return {part: stack.select(np.flatnonzero(keys.isin(chosen[part]))) for part in parts}

    def scans(self, part: str) -> list[Scan]:
        """The scans of one of PARTS from the cohort's cache, sorted by participant and session as named in results.

        Raises:
            InputError: If a scan cannot be used.
        """
        stack, secret = self._stacks[part], self.secret(part)
        scans = [_known_as(stack.scan(index), secret) for index in range(len(stack))]
        return sorted(scans, key=lambda scan: scan.key)

    def names(self, part: str) -> list[tuple[str, str]]:
        """Participant and session of the scans of one of PARTS, as named in results, sorted; no scan is read."""
        secret = self.secret(part)
        return sorted(secret.key(*key) if secret.value else key for key in keys_of(self.rows[part]))

    @property
    def public(self) -> bool:
        """Whether all participants may be named."""
        return self.cohort.public and self.test_cohort.public

    def secret(self, part: str) -> Secret:
        """The secret of the cohort that one of PARTS belongs to."""
        return self._secrets[0 if part in TRAINING else 1]

    @cached_property
    def _secrets(self) -> tuple[Secret, Secret]:
        return secret_of(self.cohort), secret_of(self.test_cohort)

    @cached_property
    def shared_images(self) -> int:
        """Number of test and patient scans that are identical, voxel by voxel, to a training or validation scan."""
        learnt = {digest for part in TRAINING for digest in self._stacks[part].rows["digest"]}
        return sum(digest in learnt for part in TESTING for digest in self._stacks[part].rows["digest"])

    @cached_property
    def cases(self) -> SimulatedCases:
        """The test sets."""
        return SimulatedCases(self.protocol, self.scans("test"), self.altered)

    @property
    def testset_recipe(self) -> str:
        """The exact part of the test sets' fingerprint; it can be computed without reading a scan.

        It depends on the test participants but not on the bytes of their files, so that it is the same for two labs
        with the same participants (and the same secret, without which their test sets differ). Differences between
        their images show in the sketch.
        """
        people = [content_hash(*map(list, keys_of(self.rows[part]))) for part in TESTING]
        simulated = [] if self.altered is None else [self.altered.recipe]
        version = [self.test_cohort.name, self.test_cohort.version, *people, *simulated]
        return self.secret("test").seal(SimulatedCases.recipe(self.protocol, version))

    @property
    def split_digest(self) -> str:
        """A hash of the participants of each part, with the secrets of their cohorts."""
        sealed = self.split.digest
        for secret in dict.fromkeys(self._secrets):
            sealed = secret.seal(sealed)
        return sealed

    def content(self, parts: tuple[str, ...]) -> list[str]:
        """Hashes that change whenever an image of these parts changes."""
        cohort = self.cohort if parts == TRAINING else self.test_cohort
        simulated = [self.altered.content] if self.altered is not None and parts == TESTING else []
        return [content_key(cohort, self.rows[part]) for part in parts] + simulated

    @property
    def test_traits(self) -> list[list[object]]:
        """Information on the test participants besides their images; it may be completed after the scans exist."""
        rows = pd.concat([self.rows[part] for part in TESTING + AUDITING])[["group", "mmse", "age", "sex", *STRATA]]
        return [[None if isinstance(v, float) and np.isnan(v) else v for v in row] for row in rows.to_numpy().tolist()]

    def batches(self, part: str, seed: int, device: torch.device) -> Batches:
        """Batches of one of PARTS, with the protocol's batch size."""
        scans = self.scans(part)
        intensities = [self.protocol.intensity_of(scan.extent) for scan in scans]
        return Batches(scans, intensities, self.protocol.training.batch_size, seed, device=device)

    def people(self) -> dict[str, list[list[str]]]:
        """The participants of each of PARTS, as (participant, session).

        For a private cohort, the names in results follow: (participant, session, hash, hash). `sites` lists, in the
        same way, the sites that have other names in results.
        """
        people: dict[str, list[list[str]]] = {}
        sites: dict[str, str] = {}
        for part in PARTS:
            secret, keys = self.secret(part), keys_of(self.rows[part])
            people[part] = [[*key, *(secret.key(*key) if secret.value else ())] for key in keys]
            sites |= {
                name: secret.site(name) for name in map(str, self.rows[part]["site"]) if secret.site(name) != name
            }
        return people | ({"sites": [list(pair) for pair in sorted(sites.items())]} if sites else {})

    def summary(self) -> list[str]:
        """A summary of the cohort and of the split, in a few lines."""
        lines = self._counted("cohort", self.cohort)
        if self.test_cohort is not self.cohort:
            lines += self._counted("test cohort", self.test_cohort)
        how = {
            "protocol": f"sizes of protocol {self.protocol.name}",
            "scaled": f"proportions of protocol {self.protocol.name}, which requires more participants",
            "given": "as listed",
        }[self.origin]
        counts = {part: self.rows[part]["participant_id"].nunique() for part in PARTS}
        train = f"{counts['train']} train ({counted(len(self.rows['train']), 'scan')})"
        others = f"{counts['validation']} validate, {counts['test']} test, {counted(counts['patients'], 'patient')}"
        others += f", {counts['audit']} in the bias audit" if counts["audit"] else ""
        secrets = {
            f"{cohort.name}: all random draws depend on the secret in {salt_file(identity_of(cohort))}; keep it"
            for cohort, secret in zip((self.cohort, self.test_cohort), self._secrets, strict=True)
            if secret.value
        }
        return [*lines, *sorted(secrets), f"fold {self.fold}: {train}, {others} ({how})"]

    def _counted(self, label: str, cohort: Cohort) -> list[str]:
        table = cohort.participants
        lines = [f"{label} {cohort.name}: {self.roles.counted(table)}", *self.roles.left_out(table, visits_of(cohort))]
        if isinstance(cohort, FileCohort):
            lines.append("not checked here: position, orientation, field of view, copies; 'uadbench cohort check' does")
        return lines


def _known_as(scan: Scan, secret: Secret) -> Scan:
    """A scan with the names that results use instead of its ids."""
    if not secret.value:
        return scan
    participant, session = secret.key(*scan.key)
    return replace(scan, participant=participant, session=session, site=secret.site(scan.site))


def plan_fold(
    cohort: Cohort, protocol: Protocol, fold: int, progress: Progress | None = None, selection: Selection | None = None
) -> FoldData:
    """Split the participants of a cohort; scans are read when they are first needed.

    Args:
        cohort: The cohort.
        protocol: The protocol.
        fold: Number of the fold, from 0.
        progress: Reports progress; silent by default.
        selection: The user's selection of participants; by default, that of the protocol.

    Raises:
        InputError: If an anomaly or a shift is unknown, the test sets cannot be drawn, or the cohort has too few
            healthy participants.
    """
    progress, chosen = progress or Silent(), selection or Selection()
    shifted = set(protocol.testsets.shifted.anomalies) - {UNSEEN}
    for anomaly in (*protocol.testsets.anomalies, *sorted(shifted)):
        dementia(anomaly)
    for shift in protocol.testsets.shifted.shifts:
        shift_named(shift)
    section = protocol.split
    roles = _roles(chosen, section)
    healthy = roles.healthy_rows(cohort.participants, visits_of(cohort))
    secret = secret_of(cohort)
    origin: Origin = "given"
    if chosen.split is not None:
        split, rows = _given(cohort, chosen.split, fold, roles, section, progress)
    else:
        sizes = {"train": section.train, "validation": section.validation, "test": section.test}
        split = split_participants(
            healthy,
            **sizes,
            folds=section.folds,
            fold=fold,
            seed=section.seed,
            audit=section.audit,
            known_as=secret.participant,
        )
        scaled = fitting_sizes(healthy["participant_id"].nunique(), **sizes, folds=section.folds).scaled
        origin = "scaled" if scaled else "protocol"
        first = baseline(healthy)
        training = healthy if section.sessions == "all" else first
        rows = {
            "train": training[training["participant_id"].isin(split.train)],
            "validation": first[first["participant_id"].isin(split.validation)],
            "test": first[first["participant_id"].isin(split.test)],
            "patients": _patients(roles.patient_rows(cohort.participants), section, secret),
            "audit": first[first["participant_id"].isin(split.audit)],
        }
    other = chosen.test_cohort or cohort
    if other is not cohort:
        if (other.name, other.version) == (cohort.name, cohort.version):
            raise InputError(
                f"test cohort {other.name} is also the training cohort; omit it, or give two cohorts of the same "
                "participants different names with PATH:name=..."
            )
        split, rows = _tested_elsewhere(split, rows, other, roles, section)
    if not is_shipped(protocol):
        _check_draws(protocol, keys_of(rows["test"])[0])
    altered = None
    if chosen.simulated is not None:
        options = (other.suvr != "as-is", other.nan) if isinstance(other, FileCohort) else ()
        altered = AlteredScans.find(chosen.simulated, keys_of(rows["test"]), protocol.lattice, *options)
        progress.notice(altered.summary)
        altered = altered.known_as(secret_of(other).key)
    return FoldData(cohort, other, protocol, fold, roles, split, origin, rows, progress, altered)


def split_manifest(cohort: Cohort, protocol: Protocol, selection: Selection) -> dict[str, Any]:
    """Every fold of a split as JSON for `listed.read_split`, for labs with the same scans.

    Test patients are listed among the test scans.

    Raises:
        InputError: If `plan_fold` raises it.
    """
    section = protocol.split
    count = len(selection.split.folds) if selection.split else section.folds
    folds, tested = [], list[Key]()
    for number in range(count):
        fold_data = plan_fold(cohort, protocol, number, selection=selection)
        rows = fold_data.rows
        first = baseline(rows["train"])
        folds.append(Fold(*(tuple(keys_of(part)) for part in (rows["train"], first, rows["validation"]))))
        tested = keys_of(pd.concat([rows["test"], rows["patients"]]))
    source = f"{cohort.name}, protocol {protocol.name}, version {protocol.version}"
    return write_split(GivenSplit(source, tuple(sorted(tested)), tuple(folds)))


def _given(
    cohort: Cohort, given: GivenSplit, fold: int, roles: Roles, section: SplitSection, progress: Progress
) -> tuple[Split, dict[str, pd.DataFrame]]:
    """Apply a listed split: its healthy participants train, validate and test; its test patients are the patients.

    If it lists no patients, the patients are all those who are not listed at all.
    """
    if not 0 <= fold < len(given.folds):
        raise InputError(f"fold {fold} does not exist; {given.source} has folds 0 to {len(given.folds) - 1}")
    chosen = given.folds[fold]
    healthy = roles.healthy_rows(cohort.participants, visits_of(cohort))
    train = chosen.train if section.sessions == "all" else chosen.first
    listed: dict[str, tuple[Key, ...]] = {"train": train, "validation": chosen.validation, "test": given.test}
    rows, lost = {}, set[Key]()
    for part, keys in listed.items():
        scans, _ = select(healthy, keys)
        lost.update(select(cohort.participants, keys)[1])
        rows[part] = scans if part == "train" else baseline(scans)
        if rows[part]["participant_id"].nunique() < LEAST:
            raise InputError(
                f"{given.source}: fold {fold}: {len(rows[part])} of {len(keys)} scans listed for {part} are healthy "
                f"scans of {cohort.name}; at least {LEAST} are needed; check ids, sessions and --healthy"
            )
    if lost:
        some = ", ".join("_".join(key) for key in sorted(lost)[:3])
        progress.warning(
            f"{given.source}: skipped {len(lost)} listed scans that are not in {cohort.name} ({some}, ...)"
        )
    patients = roles.patient_rows(cohort.participants)
    tested, _ = select(patients, given.test)
    if tested.empty:
        tested = patients[~patients["participant_id"].isin(list(given.everyone))]
    rows["patients"] = _patients(tested, section, secret_of(cohort))
    rest = baseline(healthy[~healthy["participant_id"].isin(list(given.everyone))])
    audited = stratified_order(rest, section.seed, secret_of(cohort).participant)[: section.audit]
    rows["audit"] = rest[rest["participant_id"].isin(audited)]
    people = {part: tuple(sorted(set(rows[part]["participant_id"]))) for part in (*listed, "audit")}
    return Split(**people), rows


def _tested_elsewhere(
    split: Split, rows: dict[str, pd.DataFrame], other: Cohort, roles: Roles, section: SplitSection
) -> tuple[Split, dict[str, pd.DataFrame]]:
    """Replace the test and audit participants by those of another cohort: as many as the protocol has, or all."""
    healthy = baseline(roles.healthy_rows(other.participants, visits_of(other)))
    secret = secret_of(other)
    order = stratified_order(healthy, section.seed, secret.participant)
    people = tuple(sorted(order[: section.test]))
    if len(people) < LEAST:
        raise InputError(
            f"test cohort {other.name} has {len(people)} healthy participants; at least {LEAST} are needed"
        )
    tested = {
        "test": healthy[healthy["participant_id"].isin(people)],
        "patients": _patients(roles.patient_rows(other.participants), section, secret),
        "audit": healthy[healthy["participant_id"].isin(order[section.test :][: section.audit])],
    }
    # participants of two cohorts may have the same ids, which one Split cannot hold
    return replace(split, test=tuple(f"{other.name}/{name}" for name in people), audit=()), {**rows, **tested}


def _roles(chosen: Selection, section: SplitSection) -> Roles:
    """The user's diagnoses, or those of the protocol, of which patients lack any that the user calls healthy."""
    healthy = chosen.healthy or (section.healthy,)
    others = tuple(name for name in section.patients if name.lower() not in {each.lower() for each in healthy})
    return Roles(healthy, chosen.patients or others or section.patients)


def _check_draws(protocol: Protocol, key: Key) -> None:
    """Draw for one scan, so that a modified protocol fails before anything is trained."""
    try:
        draw(protocol, key)
    except Unfinished as error:
        raise InputError(f"protocol {protocol.name}: {error}; widen its ranges in [testsets]") from None


def _patients(rows: pd.DataFrame, section: SplitSection, secret: Secret) -> pd.DataFrame:
    """The first scans of patients; of each diagnosis with too many, a random choice by a hash of (seed, name)."""
    first = baseline(rows)
    drawn: list[str] = []
    for _, people in first.groupby(first["group"].str.lower())["participant_id"]:
        order = sorted(people, key=lambda person: keyed_seed("patient", section.seed, secret.participant(person)))
        drawn += order[: section.most_patients]
    return first[first["participant_id"].isin(drawn)]
