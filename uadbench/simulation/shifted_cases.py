"""The test sets `shifted:...`: test scans, and some of their altered versions, under every shift of a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from uadbench.protocols.schema import Protocol
from uadbench.runtime.files import keyed_seed
from uadbench.simulation.shifts import Shift, shift_named, shifted, shifted_mask, shifted_scan
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import SHIFTED, Case, Scan, Truth, Volume


@dataclass(frozen=True)
class ShiftedImage:
    """A shifted scan, or a shifted altered version of it.

    Attributes:
        anomaly: The name of the test set.
        severity: The nominal severity; 0 for the healthy scan.
        scan: The shifted healthy scan, which sets the intensity scale.
        image: The image that a model sees, (X, Y, Z) float32, SUVR.
        truth: The ground truth, moved with the brain, (X, Y, Z) int8; None for the healthy scan.
    """

    anomaly: str
    severity: float
    scan: Scan
    image: Volume
    truth: Truth | None = None


@dataclass(frozen=True)
class ShiftedCases:
    """The shifted test sets of a protocol.

    Attributes:
        cases: The test sets without shifts.
    """

    cases: SimulatedCases

    @cached_property
    def shifts(self) -> list[Shift]:
        """The shifts of the protocol."""
        return [shift_named(name) for name in self.cases.protocol.testsets.shifted.shifts]

    def of(self, scan: Scan) -> Iterator[ShiftedImage]:
        """Yield the shifted images of a test scan: for each shift the healthy scan, then altered ones if it has any."""
        sources = self.sources(scan)
        for shift in self.shifts:
            yield from self.images(scan, shift, sources)

    def count(self, scan: Scan) -> int:
        """The number of shifted images of a test scan."""
        anomalies = self.cases.protocol.testsets.shifted_anomalies
        return len(self.shifts) * (1 + len(anomalies) * (scan.key in self._altered))

    def sources(self, scan: Scan) -> list[Case]:
        """The cases whose altered scans are shifted; none for most test scans."""
        section = self.cases.protocol.testsets
        if scan.key not in self._altered or not self.shifts:
            return []
        return [
            case
            for case in self.cases.cases(scan)
            if case.anomaly in section.shifted_anomalies and case.severity == section.shifted.severity
        ]

    def images(self, scan: Scan, shift: Shift, sources: list[Case]) -> list[ShiftedImage]:
        """Shift a test scan, and the altered scans of its cases in the same way.

        Args:
            scan: The test scan.
            shift: The shift.
            sources: Cases of this scan.
        """
        grid = self.cases.protocol.lattice
        seed = keyed_seed("shift", self.cases.protocol.testsets.seed, *scan.key, shift.name)
        healthy = shifted_scan(scan, grid, shift, seed)
        name = f"{SHIFTED}{shift.name}"
        images = [ShiftedImage(name, 0.0, healthy, healthy.data)]
        for case in sources:
            altered = shifted(case.altered, grid, shift, seed)
            move = partial(shifted_mask, grid=grid, shift=shift, seed=seed)
            truth = self.cases.moved_truth(case, move) if shift.moves else case.truth
            images.append(ShiftedImage(f"{name}:{case.anomaly}", case.severity, healthy, altered, truth))
        return images

    @cached_property
    def _altered(self) -> frozenset[tuple[str, str]]:
        return altered_keys(self.cases.protocol, [scan.key for scan in self.cases.scans])


def altered_keys(protocol: Protocol, keys: list[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The test scans whose altered versions are shifted: the first ones by a hash of seed, participant and session.

    Args:
        protocol: Sets the seed and the number of scans.
        keys: (participant, session) of all test scans.
    """
    section = protocol.testsets
    order = sorted(keys, key=lambda key: keyed_seed("shifted", section.seed, *key))
    return frozenset(order[: section.shifted.scans])
