"""Core data types: grids, scans, batches, intensity scales and cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Volume = npt.NDArray[np.float32]
"""A 3D array (X, Y, Z), float32, axes in RAS."""

Mask = npt.NDArray[np.bool_]
"""A 3D array (X, Y, Z) of bool."""

Truth = npt.NDArray[np.int8]
"""A 3D array (X, Y, Z) of int8: 1 = anomalous, 0 = normal, -1 = ignored."""

HEALTHY, VALIDATION, PATIENTS, AUDIT = "healthy", "validation", "patients", "audit"
"""Test sets without a simulated anomaly: healthy test scans, healthy validation scans, patients' scans, and scans of
further healthy participants for the bias audit."""

UNSEEN, VARIED, HYPER = "unseen", "varied", "hyper"
"""Test sets with a different anomaly for each participant: random blobs, varied dementias, increased uptake."""

TUNING = "tuning"
"""Lesions on healthy validation scans, on which settings are chosen; no test set."""

NO_DEMENTIA = (HEALTHY, VALIDATION, PATIENTS, AUDIT, UNSEEN, VARIED, HYPER, TUNING)

GIVEN = "given-"
"""Prefix of the names of test sets that consist of altered scans from another tool."""

SHIFTED = "shifted:"
"""Prefix of the names of shifted test sets: `shifted:SHIFT` for healthy scans, `shifted:SHIFT:ANOMALY` for altered
ones."""

CUT = "cut"
"""The shift that removes tissue: no model can restore it, and an anomaly map is right to mark it."""


def is_dementia(anomaly: str) -> bool:
    """Whether a test set simulates one of the protocol's dementias, which the ranking of models is based on.

    Args:
        anomaly: The name of the test set.

    Returns:
        True for a dementia such as "ad", False for any other test set.
    """
    return anomaly not in NO_DEMENTIA and not anomaly.startswith((GIVEN, SHIFTED))


Precision = Literal["bf16", "float32"]
"""Floating-point precision of a training step; see `precision.available`."""

Values = npt.NDArray[np.float64]
"""An array of float64, such as one score per participant; each use documents its axes."""

Affine = npt.NDArray[np.float64]
"""A (4, 4) matrix from voxel indices to MNI millimetres."""


@dataclass(frozen=True)
class Grid:
    """The voxel grid of the images that models see, with axes in RAS.

    Attributes:
        shape: The number of voxels along X, Y and Z.
        voxel_mm: The edge length of the isotropic voxels, in mm.
        origin: The MNI coordinate of the centre of voxel (0, 0, 0), in mm.
    """

    shape: tuple[int, int, int]
    voxel_mm: float
    origin: tuple[float, float, float]

    @property
    def affine(self) -> Affine:
        """The (4, 4) matrix from voxel indices to MNI millimetres."""
        matrix = np.diag([self.voxel_mm] * 3 + [1.0])
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def size(self) -> int:
        """The number of voxels."""
        return int(np.prod(self.shape))

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape)) + f" at {self.voxel_mm:g} mm"


@dataclass(frozen=True)
class Intensity:
    """An affine intensity scale: normalised = (SUVR - offset) / scale.

    It is fitted on the healthy scan and applied to the altered scan as well, so that the two cannot be
    distinguished by their intensity scale.

    Attributes:
        offset: The SUVR that becomes 0.
        scale: The difference in SUVR that becomes 1.
    """

    offset: float
    scale: float

    def normalise(self, suvr: Volume, out: Volume | None = None) -> Volume:
        """Convert SUVR to normalised units.

        Args:
            suvr: (X, Y, Z) float32, SUVR.
            out: An array of the same shape to write the result into; by default a new array.

        Returns:
            (X, Y, Z) float32, normalised.
        """
        shifted = np.subtract(suvr, np.float32(self.offset), out=out, dtype=np.float32)
        return np.divide(shifted, np.float32(self.scale), out=shifted)


@dataclass(frozen=True)
class Scan:
    """One PET volume on a grid, with the participant's data.

    Attributes:
        participant: The participant's identifier.
        session: The session's identifier.
        data: The volume, (X, Y, Z) float32, SUVR.
        affine: The (4, 4) matrix from voxel indices to MNI millimetres.
        extent: The smallest and largest SUVR of the volume at its original resolution, which min-max scaling
            needs (downsampling would lose them).
        age: The age in years; NaN if unknown.
        sex: "F", "M", or "" if unknown.
        site: The acquisition site; "" if unknown.
        scanner: The scanner; "" if unknown.
        amyloid: The amyloid status; "" if unknown.
        group: The diagnostic group, such as "CN" or "AD"; "" if unknown.
        mmse: The score of the Mini-Mental State Examination, 0 to 30; NaN if unknown.
    """

    participant: str
    session: str
    data: Volume
    affine: Affine
    extent: tuple[float, float]
    age: float = float("nan")
    sex: str = ""
    site: str = ""
    scanner: str = ""
    amyloid: str = ""
    group: str = ""
    mmse: float = float("nan")

    @property
    def key(self) -> tuple[str, str]:
        """(participant, session), which identifies the scan."""
        return self.participant, self.session


@dataclass(frozen=True)
class Case:
    """A healthy scan with one simulated anomaly and its ground truth.

    Attributes:
        scan: The healthy scan x.
        reduction: r = 1 - x'/x, (X, Y, Z) float32; negative where uptake is increased.
        truth: (X, Y, Z) int8: 1 = anomalous, 0 = normal, -1 = ignored (the rim of the anomaly, outside the brain).
        anomaly: The name of the test set.
        severity: The nominal severity: the reduction before smoothing, 0 to 1.
        intensity: The intensity scale, fitted on the healthy scan.
    """

    scan: Scan
    reduction: Volume
    truth: Truth
    anomaly: str
    severity: float
    intensity: Intensity

    @cached_property
    def altered(self) -> Volume:
        """The altered image x' = x (1 - r), (X, Y, Z) float32, SUVR; where r is 0 it equals x bit for bit."""
        return np.asarray(self.scan.data * (np.float32(1) - self.reduction), dtype=np.float32)

    @cached_property
    def effective_reduction(self) -> float:
        """The mean reduction within the ground truth; smoothing makes it smaller than the nominal severity."""
        inside = self.truth == 1
        return float(self.reduction[inside].mean(dtype=np.float64)) if inside.any() else float("nan")


@dataclass
class Batch:
    """The input of a model: N scans in normalised units, with age and sex of the participants.

    Attributes:
        images: (N, 1, X, Y, Z) float32, normalised.
        age: (N,) float32, years; NaN if unknown.
        sex: (N,) float32: 0 = female, 1 = male, NaN if unknown.
        seeds: One integer per scan. A stochastic model seeds its random numbers with it instead of using the global
            generator, so that the result for a scan does not depend on other scans.
    """

    images: torch.Tensor
    age: torch.Tensor
    sex: torch.Tensor
    seeds: Sequence[int]

    def __len__(self) -> int:
        return len(self.seeds)

    def to(self, device: Any) -> Batch:
        """Copy the batch to another device.

        Args:
            device: A torch device, or its name.

        Returns:
            The batch, with its tensors on that device.
        """
        return Batch(self.images.to(device), self.age.to(device), self.sex.to(device), self.seeds)
