"""What travels through the house: grids, scans, batches, intensity scales and cases."""

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
"""A 3D array (X, Y, Z): 1 to be found, 0 not to be found, -1 does not count."""

HEALTHY, VALIDATION, PATIENTS = "healthy", "validation", "patients"
"""Test sets on which nothing is simulated: healthy test scans, healthy validation scans, patients' scans."""

UNSEEN, VARIED, HYPER = "unseen", "varied", "hyper"
"""Test sets drawn anew for every participant: blobs, dementias as they vary, and raised uptake."""

NO_DEMENTIA = (HEALTHY, VALIDATION, PATIENTS, UNSEEN, VARIED, HYPER)

GIVEN = "given-"
"""Test sets of altered scans that another tool has written begin like this."""


def is_dementia(anomaly: str) -> bool:
    """Whether a test set is one of the protocol's dementias, on whose severities models are ranked."""
    return anomaly not in NO_DEMENTIA and not anomaly.startswith(GIVEN)


Precision = Literal["bf16", "float32"]
"""What a training step is computed in; see `precision.available`."""

Values = npt.NDArray[np.float64]
"""Numbers, such as scores by participant; each use says what its axes are."""

Affine = npt.NDArray[np.float64]
"""A (4, 4) matrix from voxel indices to MNI millimetres."""


@dataclass(frozen=True)
class Grid:
    """The lattice that models see: `shape` voxels of `voxel_mm` millimetres, axes in RAS.

    `origin` is the MNI coordinate, in mm, of the centre of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    voxel_mm: float
    origin: tuple[float, float, float]

    @property
    def affine(self) -> Affine:
        """Voxel indices to MNI millimetres, (4, 4)."""
        matrix = np.diag([self.voxel_mm] * 3 + [1.0])
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape)) + f" at {self.voxel_mm:g} mm"


@dataclass(frozen=True)
class Intensity:
    """An affine intensity scale: normalised = (SUVR - offset) / scale.

    Fitted on the healthy scan and applied to the altered one too, so that the scale of an
    image can never tell the two apart.
    """

    offset: float
    scale: float

    def normalise(self, suvr: Volume, out: Volume | None = None) -> Volume:
        """SUVR to the models' unit, float32; into `out` where it is given."""
        shifted = np.subtract(suvr, np.float32(self.offset), out=out, dtype=np.float32)
        return np.divide(shifted, np.float32(self.scale), out=shifted)


@dataclass(frozen=True)
class Scan:
    """One PET volume on a grid, in SUVR, with who it is from.

    `data` is (X, Y, Z) float32; `extent` holds the smallest and largest SUVR of the volume at
    the resolution it was stored in, which a min-max scale needs (decimation would lose them).
    `age` is in years (NaN: unknown), `sex` is "F", "M" or "" (unknown), as are site, scanner and amyloid status;
    `mmse` is the Mini-Mental State Examination, 0 to 30 (NaN: unknown).
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
        """(participant, session): what a scan is called everywhere."""
        return self.participant, self.session


@dataclass(frozen=True)
class Case:
    """A healthy scan with one simulated anomaly, and the truth about it.

    `reduction` is r = 1 - x'/x, (X, Y, Z) float32, below 0 where uptake is raised. `truth` is
    (X, Y, Z) int8: 1 where the anomaly is, 0 where it is not, -1 where neither counts (rim, outside brain).
    """

    scan: Scan
    reduction: Volume
    truth: Truth
    anomaly: str
    severity: float
    intensity: Intensity

    @cached_property
    def altered(self) -> Volume:
        """The altered image x' = x (1 - r), in SUVR; voxels where r is 0 stay bit-equal to x."""
        return np.asarray(self.scan.data * (np.float32(1) - self.reduction), dtype=np.float32)

    @cached_property
    def effective_reduction(self) -> float:
        """Mean reduction inside the truth: what smoothing has left of the nominal severity."""
        inside = self.truth == 1
        return float(self.reduction[inside].mean(dtype=np.float64)) if inside.any() else float("nan")


@dataclass
class Batch:
    """What a model is given: N scans in normalised units, and what is known of the people.

    `images` is (N, 1, X, Y, Z) float32. `age` is (N,) float32, NaN where unknown. `sex` is (N,)
    float32: 0 female, 1 male, NaN unknown. `seeds` holds one integer per scan: a stochastic
    model draws from it, never from the global generator, so that a scan's result is its own.
    """

    images: torch.Tensor
    age: torch.Tensor
    sex: torch.Tensor
    seeds: Sequence[int]

    def __len__(self) -> int:
        return len(self.seeds)

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        return Batch(self.images.to(device), self.age.to(device), self.sex.to(device), self.seeds)
