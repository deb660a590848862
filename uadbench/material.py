"""The scans that the cells of one cohort, protocol and fold share: split, on the grid, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from uadbench.batches import Batches
from uadbench.cohorts.base import Cohort
from uadbench.cohorts.intake import ScanStack, gather
from uadbench.cohorts.splits import Split, baseline, split_participants
from uadbench.progress import Progress
from uadbench.protocol import Protocol
from uadbench.testset import SimulatedCases
from uadbench.types import Scan


@dataclass(frozen=True)
class Material:
    """The scans that all cells of one (cohort, protocol, fold) share, read once."""

    cohort: Cohort
    protocol: Protocol
    fold: int
    split: Split
    train: ScanStack
    validation: ScanStack
    test: ScanStack

    @cached_property
    def cases(self) -> SimulatedCases:
        """The test sets."""
        return SimulatedCases(self.protocol, [self.test.scan(i) for i in range(len(self.test))])

    def batches(self, stack: ScanStack, seed: int, device: torch.device) -> Batches:
        """Batches of a part of the split, in the protocol's size."""
        scans: list[Scan] = [stack.scan(i) for i in range(len(stack))]
        intensities = [self.protocol.intensity_of(scan.extent) for scan in scans]
        return Batches(scans, intensities, self.protocol.training.batch_size, seed, device=device)


def gather_material(cohort: Cohort, protocol: Protocol, fold: int, progress: Progress) -> Material:
    """Split the cohort's participants and bring the scans that the split needs onto the grid.

    Raises InputError if the cohort has too few healthy participants, or a scan cannot be used.
    """
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
    parts = {
        "train": training[training["participant_id"].isin(split.train)],
        "validation": first[first["participant_id"].isin(split.validation)],
        "test": first[first["participant_id"].isin(split.test)],
    }
    # in one order whatever the fold, so that folds of the same scans share one cache entry
    wanted = pd.concat(parts.values()).sort_values(["participant_id", "session_id"], kind="stable")
    stack = gather(cohort, protocol.lattice, wanted.reset_index(drop=True), progress)
    people = stack.rows["participant_id"]
    stacks = {name: stack.select(np.flatnonzero(people.isin(getattr(split, name)))) for name in parts}
    return Material(cohort=cohort, protocol=protocol, fold=fold, split=split, **stacks)
