"""The scans and cases of a protocol as torch datasets, for training and evaluating outside of the harness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from uadbench.api.cohorts import OpenedCohort, reference_of
from uadbench.api.progress import LoggedProgress
from uadbench.api.running import protocol_of
from uadbench.types import Affine, Case, Mask, Volume

if TYPE_CHECKING:
    from uadbench.protocols.schema import Protocol
    from uadbench.runs.fold_data import FoldData
    from uadbench.simulation.testset import SimulatedCases
    from uadbench.types import Scan


class CaseItem(TypedDict):
    """One case of the test sets; volumes are (1, X, Y, Z) in the models' unit unless said otherwise."""

    image: Tensor
    healthy: Tensor
    truth: Tensor
    """int8: 1 inside the lesion, 0 outside, -1 ignored (the rim of the lesion, and outside the brain)."""
    reduction: Tensor
    """The share of the uptake that was removed, float32."""
    anomaly: str
    severity: float
    participant: str
    session: str


class ScanDataset(Dataset[Tensor]):
    """Healthy scans, (1, X, Y, Z) float32 in the models' unit.

    Attributes:
        protocol: Whose grid and intensity scale the scans have.
        scans: The scans in SUVR, with what is known of the participants.
    """

    def __init__(self, protocol: Protocol, scans: Sequence[Scan]) -> None:
        self.protocol = protocol
        self.scans = list(scans)

    @property
    def affine(self) -> Affine:
        """(4, 4), voxels to MNI millimetres."""
        return self.protocol.lattice.affine

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> Tensor:
        scan = self.scans[index]
        return _tensor(self.protocol.intensity_of(scan.extent).normalise(scan.data))


class CaseDataset(Dataset[CaseItem]):
    """The simulated cases of the healthy test scans, made when asked for, the same as in a run.

    Attributes:
        cases: The test sets, which make the cases.
    """

    def __init__(self, cases: SimulatedCases) -> None:
        self.cases = cases
        self._per_scan = sum(1 for _ in cases.cases(cases.scans[0]))

    @property
    def affine(self) -> Affine:
        """(4, 4), voxels to MNI millimetres."""
        return self.cases.protocol.lattice.affine

    @property
    def brain(self) -> Mask:
        """The brain mask on the grid, (X, Y, Z) bool."""
        return self.cases.brain

    def __len__(self) -> int:
        return len(self.cases.scans) * self._per_scan

    def __getitem__(self, index: int) -> CaseItem:
        if not -len(self) <= index < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        place, number = divmod(index % len(self), self._per_scan)
        case = next(islice(self.cases.cases(self.cases.scans[place]), number, None))
        return _item(case)


class FoldOptions(TypedDict, total=False):
    """Which scans of a protocol `train_dataset` and `test_dataset` take."""

    cohort: str | Path | OpenedCohort | None
    """As for `uadbench.run`; by default the protocol's."""
    healthy: Sequence[str]
    """Diagnoses of healthy people; by default the protocol's."""
    fold: int
    """The fold of the split; by default 0."""
    overrides: dict[str, Any] | None
    """Changes to the protocol, such as {"training.epochs": 3}."""
    progress: bool
    """Show a bar while scans are read; by default True."""


def train_dataset(
    protocol: str | Path = "quick",
    *,
    part: Literal["train", "validation"] = "train",
    **options: Unpack[FoldOptions],
) -> ScanDataset:
    """The healthy scans that a model learns from under a protocol.

    Args:
        protocol: A protocol's name, or a TOML file.
        part: "train", or "validation": other participants, on whom weights are chosen and maps are calibrated.
        **options: `cohort`, `healthy`, `fold`, `overrides` and `progress`, as in `FoldOptions`.

    Returns:
        A torch dataset of tensors (1, X, Y, Z) float32; its `affine` leads from voxels to MNI millimetres.

    Raises:
        InputError: If something is unknown, or a scan cannot be used.
    """
    fold_data = fold_data_of(protocol, **options)
    return ScanDataset(fold_data.protocol, fold_data.scans(part))


def test_dataset(protocol: str | Path = "quick", **options: Unpack[FoldOptions]) -> CaseDataset:
    """The simulated cases on which models are scored under a protocol.

    Args:
        protocol: A protocol's name, or a TOML file.
        **options: As for `train_dataset`.

    Returns:
        A torch dataset of dictionaries, see `CaseItem`; all cases of a participant follow one another.

    Raises:
        InputError: If something is unknown, or a scan cannot be used.
    """
    return CaseDataset(fold_data_of(protocol, **options).cases)


def fold_data_of(
    protocol: str | Path,
    *,
    cohort: str | Path | OpenedCohort | None = None,
    healthy: Sequence[str] = (),
    fold: int = 0,
    overrides: dict[str, Any] | None = None,
    progress: bool = True,
) -> FoldData:
    """Who trains and tests in one fold; the arguments are those of `FoldOptions`.

    Raises:
        InputError: If something is unknown.
    """
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.runs.fold_data import Selection, plan_fold

    log, chosen = LoggedProgress(bars=progress), protocol_of(protocol, overrides)
    opened = open_and_warn(reference_of(cohort) or chosen.cohort, log)
    own = cohort if isinstance(cohort, OpenedCohort) else None
    selection = Selection(healthy=tuple(healthy) or (own.healthy if own else ()), patients=own.patients if own else ())
    return plan_fold(opened, chosen, fold, log, selection)


def _item(case: Case) -> CaseItem:
    scale = case.intensity
    return CaseItem(
        image=_tensor(scale.normalise(case.altered)),
        healthy=_tensor(scale.normalise(case.scan.data)),
        truth=torch.from_numpy(np.array(case.truth))[None],
        reduction=_tensor(case.reduction),
        anomaly=case.anomaly,
        severity=case.severity,
        participant=case.scan.participant,
        session=case.scan.session,
    )


def _tensor(volume: Volume) -> Tensor:
    return torch.from_numpy(np.array(volume, dtype=np.float32))[None]
