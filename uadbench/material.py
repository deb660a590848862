"""The scans that the cells of one cohort, protocol and fold share: split at once, read when first needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from uadbench.anomalies.regions import dementia
from uadbench.batches import Batches
from uadbench.cohorts.base import Cohort
from uadbench.cohorts.intake import ScanStack, gather
from uadbench.cohorts.splits import Split, baseline, split_participants
from uadbench.errors import InputError, Unfinished
from uadbench.progress import Progress
from uadbench.protocol import Protocol, SplitSection, is_shipped
from uadbench.store import keyed_seed
from uadbench.testset import SimulatedCases, draw
from uadbench.types import Scan

KEY = ["participant_id", "session_id"]
PARTS = ("train", "validation", "test", "patients")


@dataclass(frozen=True)
class Material:
    """Who trains, validates and tests, and their scans on the protocol's grid.

    Attributes
    ----------
    rows : for each of PARTS the rows of the cohort's table; `patients` may be empty
    """

    cohort: Cohort
    protocol: Protocol
    fold: int
    split: Split
    rows: dict[str, pd.DataFrame]
    progress: Progress = field(repr=False, compare=False)

    @cached_property
    def _stacks(self) -> dict[str, ScanStack]:
        # in one order whatever the fold, so that folds of the same scans share one cache entry
        wanted = pd.concat(self.rows.values()).sort_values(KEY, kind="stable")
        stack = gather(self.cohort, self.protocol.lattice, wanted.reset_index(drop=True), self.progress)
        keys = pd.MultiIndex.from_frame(stack.rows[KEY])
        return {
            part: stack.select(np.flatnonzero(keys.isin(pd.MultiIndex.from_frame(self.rows[part][KEY]))))
            for part in PARTS
        }

    def scans(self, part: str) -> list[Scan]:
        """The scans of one of PARTS, sorted by participant and session; from the cohort's cache.

        Raises InputError for a scan that cannot be used.
        """
        stack = self._stacks[part]
        return [stack.scan(index) for index in range(len(stack))]

    @cached_property
    def cases(self) -> SimulatedCases:
        """The test sets."""
        return SimulatedCases(self.protocol, self.scans("test"))

    @property
    def testset_recipe(self) -> str:
        """The exact part of the test sets' fingerprint; needs no scan."""
        keys = [self.cohort.content_key(self.rows[part]) for part in ("test", "patients")]
        version = [self.cohort.name, self.cohort.version, *keys]
        return SimulatedCases.recipe(self.protocol, version)

    @property
    def clinical(self) -> list[float | None]:
        """The patients' MMSE, with which their scores are correlated; it may be filled in long after the scans."""
        return [None if np.isnan(value) else float(value) for value in self.rows["patients"]["mmse"]]

    def batches(self, part: str, seed: int, device: torch.device) -> Batches:
        """Batches of one of PARTS, in the protocol's size."""
        scans = self.scans(part)
        intensities = [self.protocol.intensity_of(scan.extent) for scan in scans]
        return Batches(scans, intensities, self.protocol.training.batch_size, seed, device=device)


def plan_material(cohort: Cohort, protocol: Protocol, fold: int, progress: Progress) -> Material:
    """Split the cohort's participants; scans are read when they are first needed.

    Raises InputError for an unknown anomaly, for test sets that cannot be drawn, or if the cohort has too few healthy
    participants.
    """
    for anomaly in protocol.testsets.anomalies:
        dementia(anomaly)
    section = protocol.split
    table = cohort.participants
    split = split_participants(
        table,
        healthy=section.healthy,
        train=section.train,
        validation=section.validation,
        test=section.test,
        folds=section.folds,
        fold=fold,
        seed=section.seed,
    )
    healthy = table[table["group"] == section.healthy]
    first = baseline(healthy)
    training = healthy if section.sessions == "all" else first
    rows = {
        "train": training[training["participant_id"].isin(split.train)],
        "validation": first[first["participant_id"].isin(split.validation)],
        "test": first[first["participant_id"].isin(split.test)],
        "patients": _patients(table, section, set(healthy["participant_id"])),
    }
    if not is_shipped(protocol):
        _check_draws(protocol, rows["test"])
    return Material(cohort, protocol, fold, split, rows, progress)


def _check_draws(protocol: Protocol, test: pd.DataFrame) -> None:
    """Draw for the first test participant, so that a changed protocol fails before anything is trained."""
    first = test.iloc[0]
    try:
        draw(protocol, (str(first["participant_id"]), str(first["session_id"])))
    except Unfinished as error:
        raise InputError(f"protocol {protocol.name}: {error}; widen its ranges in [testsets]") from None


def _patients(table: pd.DataFrame, section: SplitSection, healthy: set[str]) -> pd.DataFrame:
    """The first scans of patients who were never among the healthy: a model may have learnt from an earlier scan.

    Where there are too many, who stays is random by a hash of (seed, id).
    """
    rows = baseline(table[(table["group"] == section.patients) & ~table["participant_id"].isin(list(healthy))])
    drawn = sorted(rows["participant_id"], key=lambda person: keyed_seed("patient", section.seed, person))
    return rows[rows["participant_id"].isin(drawn[: section.most_patients])]
