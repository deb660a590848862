"""Images that a model receives, under names that do not reveal whether an image was altered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uadbench.protocols.schema import Protocol
from uadbench.runs.fold_data import FoldData
from uadbench.runtime.files import content_hash
from uadbench.simulation.shifted_cases import ShiftedCases
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import Scan, Volume

EXPORTED = ("train", "validation", "test")
"""Folders of an export; `test` mixes healthy scans, their altered and shifted versions, and scans of patients and of
the bias audit."""

ANSWERED = EXPORTED[1:]
"""Parts that a tool answers: validation scans calibrate its maps, test scans are scored."""

NAME_DIGITS = 16


@dataclass(frozen=True)
class Shown:
    """A scan as models receive it, followed by its altered versions if there are any.

    Attributes:
        scan: The scan on the protocol's grid, in SUVR.
        names: File names without suffix: of the scan, then of its cases in the order of the test sets.
        protocol: The protocol, which sets the intensity scale.
        cases: The test sets that alter the scan; None if it is used unaltered only.
    """

    scan: Scan
    names: tuple[str, ...]
    protocol: Protocol
    cases: SimulatedCases | None = None

    def images(self) -> Iterator[Volume]:
        """Yield the images in the order of `names`, (X, Y, Z) float32, on the models' intensity scale.

        After the scan and its cases come the shifted images, if there are any.
        """
        intensity = self.protocol.intensity_of(self.scan.extent)
        yield intensity.normalise(self.scan.data)
        if self.cases is not None:
            for case in self.cases.cases(self.scan):
                yield intensity.normalise(case.altered)
            for image in ShiftedCases(self.cases).of(self.scan):
                yield self.protocol.intensity_of(image.scan.extent).normalise(image.image)


def shown_scans(fold_data: FoldData, part: str) -> list[Shown]:
    """List the scans of one part of an export.

    Args:
        fold_data: The scans of the fold.
        part: One of EXPORTED.

    Returns:
        The scans in the order of their anonymised names, which is effectively random.
    """
    protocol = fold_data.protocol
    if part == "test":
        count, shifted = 1 + cases_per_scan(protocol), ShiftedCases(fold_data.cases)
        tested = [
            Shown(scan, _names(fold_data, part, scan, count + shifted.count(scan)), protocol, fold_data.cases)
            for scan in fold_data.scans(part)
        ]
        unaltered = [*fold_data.scans("patients"), *fold_data.scans("audit")]
        scans = [*tested, *(Shown(scan, _names(fold_data, part, scan, 1), protocol) for scan in unaltered)]
    else:
        scans = [Shown(scan, _names(fold_data, part, scan, 1), protocol) for scan in fold_data.scans(part)]
    return sorted(scans, key=lambda shown: shown.names)


def cases_per_scan(protocol: Protocol) -> int:
    """Number of altered versions of each healthy test scan, without shifted ones."""
    section = protocol.testsets
    return (len(section.anomalies) + 1) * len(section.severities) + section.varied.draws + 1  # unseen, varied, hyper


def image_counts(fold_data: FoldData) -> dict[str, int]:
    """Number of images in each part of an export; reads no scan."""
    count = {part: len(rows) for part, rows in fold_data.rows.items()}
    section, anomalies = fold_data.protocol.testsets.shifted, fold_data.protocol.testsets.shifted_anomalies
    shifted = len(section.shifts) * (count["test"] + min(section.scans, count["test"]) * len(anomalies))
    tested = count["test"] * (1 + cases_per_scan(fold_data.protocol)) + shifted + count["patients"] + count["audit"]
    return {"train": count["train"], "validation": count["validation"], "test": tested}


def voxel_digest(image: Volume) -> str:
    """SHA-256 (hex) of an image's voxels as little-endian float32 in C order."""
    return hashlib.sha256(np.asarray(image, dtype="<f4").tobytes()).hexdigest()


def _names(fold_data: FoldData, part: str, scan: Scan, count: int) -> tuple[str, ...]:
    """A name for each image of a scan: a hash that can be recomputed only with protocol, cohort and fold."""
    cohort = fold_data.cohort
    where = [fold_data.protocol.hash, cohort.name, cohort.version, fold_data.fold, part, *scan.key]
    return tuple(content_hash("shown", where, index)[:NAME_DIGITS] for index in range(count))
