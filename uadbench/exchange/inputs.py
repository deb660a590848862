"""What a model is shown, image by image, under names that do not tell what an image is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uadbench.protocols.schema import Protocol
from uadbench.runs.fold_data import FoldData
from uadbench.runtime.files import content_hash
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import Scan, Volume

EXPORTED = ("train", "validation", "test")
"""Folders of an export; `test` holds healthy scans, their altered versions and patients' scans, mixed."""

ANSWERED = EXPORTED[1:]
"""Parts that a tool answers: validation scans calibrate, test scans are scored."""

NAME_DIGITS = 16


@dataclass(frozen=True)
class Shown:
    """A scan as models are shown it, and after it its altered versions, if it has any.

    Attributes:
        scan: On the protocol's grid, in SUVR.
        names: Of the scan itself, then of its cases in the order of the test sets.
        protocol: Fixes the intensity scale.
        cases: The test sets that the scan is altered for; None for one that is not.
    """

    scan: Scan
    names: tuple[str, ...]
    protocol: Protocol
    cases: SimulatedCases | None = None

    def images(self) -> Iterator[Volume]:
        """The images in the order of `names`, (X, Y, Z) float32, in the models' unit."""
        intensity = self.protocol.intensity_of(self.scan.extent)
        yield intensity.normalise(self.scan.data)
        if self.cases is not None:
            for case in self.cases.cases(self.scan):
                yield intensity.normalise(case.altered)


def shown_scans(fold_data: FoldData, part: str) -> list[Shown]:
    """The scans of one of EXPORTED, in the order of their names, which is as good as shuffled."""
    protocol = fold_data.protocol
    if part == "test":
        count = 1 + cases_per_scan(protocol)
        tested = [
            Shown(scan, _names(fold_data, part, scan, count), protocol, fold_data.cases)
            for scan in fold_data.scans(part)
        ]
        ill = fold_data.scans("patients")
        found = [*tested, *(Shown(scan, _names(fold_data, part, scan, 1), protocol) for scan in ill)]
    else:
        found = [Shown(scan, _names(fold_data, part, scan, 1), protocol) for scan in fold_data.scans(part)]
    return sorted(found, key=lambda shown: shown.names)


def cases_per_scan(protocol: Protocol) -> int:
    """How many altered versions a healthy test scan has."""
    section = protocol.testsets
    return (len(section.anomalies) + 1) * len(section.severities) + section.varied.draws + 1  # unseen, varied, hyper


def counted(fold_data: FoldData) -> dict[str, int]:
    """How many images each of EXPORTED has; needs no scan."""
    count = {part: len(rows) for part, rows in fold_data.rows.items()}
    tested = count["test"] * (1 + cases_per_scan(fold_data.protocol)) + count["patients"]
    return {"train": count["train"], "validation": count["validation"], "test": tested}


def voxel_digest(image: Volume) -> str:
    """SHA-256 (hex) of an image's voxels as little-endian float32 in C order."""
    return hashlib.sha256(np.asarray(image, dtype="<f4").tobytes()).hexdigest()


def _names(fold_data: FoldData, part: str, scan: Scan, count: int) -> tuple[str, ...]:
    """A name for each image of a scan: a hash, which only who has protocol, cohort and fold can make again."""
    cohort = fold_data.cohort
    where = [fold_data.protocol.hash, cohort.name, cohort.version, fold_data.fold, part, *scan.key]
    return tuple(content_hash("shown", where, place)[:NAME_DIGITS] for place in range(count))
