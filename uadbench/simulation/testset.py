"""Simulated test sets: the cases of healthy test scans with each anomaly and severity, computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from uadbench.cohorts.simulated import AlteredScans
from uadbench.protocols.schema import Protocol
from uadbench.runtime.files import content_hash, keyed_seed
from uadbench.simulation import blobs, hypometabolism, regions, shifts, varied
from uadbench.simulation.blobs import Blob
from uadbench.simulation.varied import Variation
from uadbench.space import atlas
from uadbench.types import HYPER, UNSEEN, VARIED, Case, Intensity, Mask, Scan, Truth, Volume

SKETCHED = 8
"""Number of scans whose draws contribute to the fingerprint's sketch."""


@dataclass(frozen=True)
class Draws:
    """The random draws of one scan, from which its anomalies can be recomputed.

    Attributes:
        blob: The blob of `unseen` and `hyper`.
        variations: The variations of `varied`.
    """

    blob: Blob
    variations: tuple[Variation, ...]

    def to_json(self) -> dict[str, Any]:
        """The draws in the form in which a run folder stores them."""
        return {UNSEEN: asdict(self.blob), VARIED: [asdict(variation) for variation in self.variations]}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Draws:
        """The draws from the output of `to_json`.

        Raises:
            TypeError: If a field has the wrong type or name.
            KeyError: If a field is missing.
        """
        blob = {**stored[UNSEEN], "centre": tuple(stored[UNSEEN]["centre"]), "axes": tuple(stored[UNSEEN]["axes"])}
        variations = [Variation(**{**each, "regions": tuple(each["regions"])}) for each in stored[VARIED]]
        return Draws(Blob(**blob), tuple(variations))


def draw(protocol: Protocol, key: tuple[str, str]) -> Draws:
    """The draws of a scan: a pure function of the protocol's seed, participant, session and anomaly.

    Raises:
        Unfinished: If no anomaly within the limits of the protocol can be drawn.
    """
    section = protocol.testsets
    ranges = section.varied
    variations = (
        varied.draw_variation(
            _generator(protocol, key, VARIED, number),
            section.anomalies,
            (ranges.severity.low, ranges.severity.high),
            (ranges.sigma_mm.low, ranges.sigma_mm.high),
            ranges.warp_mm,
        )
        for number in range(ranges.draws)
    )
    return Draws(draw_unseen(protocol, key), tuple(variations))


def draw_unseen(protocol: Protocol, key: tuple[str, str]) -> Blob:
    """The blob of `unseen` alone; see `draw`."""
    section = protocol.testsets
    volume = section.unseen.volume_cm3
    rng = _generator(protocol, key, UNSEEN)
    return blobs.draw_blob(rng, (volume.low, volume.high), section.unseen.most_overlap, section.anomalies)


def _generator(protocol: Protocol, key: tuple[str, str], *what: object) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("draw", protocol.testsets.seed, *key, *what))


@dataclass(frozen=True)
class SimulatedCases:
    """The cases of healthy test scans under a protocol; dementia masks are smoothed once for the grid.

    Attributes:
        protocol: Defines grid, anomalies, severities, ground truth and intensity.
        scans: The healthy test scans on the protocol's grid.
        altered: Versions of these scans that another tool has altered; they form additional test sets.
    """

    protocol: Protocol
    scans: Sequence[Scan]
    altered: AlteredScans | None = None
    _drawn: dict[tuple[str, str], Draws] = field(default_factory=dict, init=False, repr=False, compare=False)
    _masks: dict[tuple[str, str], list[Volume]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def brain(self) -> Mask:
        """The brain mask on the grid, (X, Y, Z) bool."""
        return atlas.brain_mask(self.protocol.lattice)

    @cached_property
    def smoothed_masks(self) -> dict[str, Volume]:
        """G(m) of every dementia on the grid, (X, Y, Z) float32 in 0..1."""
        grid, section = self.protocol.lattice, self.protocol.testsets
        return {
            anomaly: hypometabolism.smoothed_mask(anomaly, grid.affine, grid.shape, section.sigma_mm)
            for anomaly in section.anomalies
        }

    @cached_property
    def smoothed_supports(self) -> dict[str, Volume]:
        """The smoothed regions of every dementia that count as positive, (X, Y, Z) float32 in 0..1."""
        grid, section = self.protocol.lattice, self.protocol.testsets
        return {
            anomaly: hypometabolism.smoothed_support(
                anomaly, grid.affine, grid.shape, section.sigma_mm, section.least_weight
            )
            for anomaly in section.anomalies
        }

    @cached_property
    def truths(self) -> dict[str, Truth]:
        """The ground truth of every dementia on the grid, (X, Y, Z) int8; the same at all severities."""
        supports = self.smoothed_supports
        return {anomaly: self._truth(mask, supports[anomaly]) for anomaly, mask in self.smoothed_masks.items()}

    @property
    def effective_shares(self) -> dict[str, float]:
        """The effective reduction of every dementia as a share of the severity: the mean of G(m) in the truth."""
        return {name: _sketched(mask, self.truths[name])[1] for name, mask in self.smoothed_masks.items()}

    def intensity(self, scan: Scan) -> Intensity:
        """The intensity scale of a healthy scan, which its altered versions share."""
        return self.protocol.intensity_of(scan.extent)

    def draws(self, scan: Scan) -> Draws:
        """The draws of a scan; see `draw`."""
        if scan.key not in self._drawn:
            self._drawn[scan.key] = draw(self.protocol, scan.key)
        return self._drawn[scan.key]

    def cases(self, scan: Scan, draws: Draws | None = None) -> Iterator[Case]:
        """Yield the cases of one scan, by test set and severity.

        The order is: dementias, `unseen`, `varied`, `hyper`, then altered scans from another tool. Cases with the same
        mask follow each other and share their `truth` (the same object).

        Args:
            scan: The healthy scan.
            draws: The draws that a result has stored; by default, new ones.
        """
        section = self.protocol.testsets
        for anomaly in section.anomalies:
            for severity in section.severities:
                yield self._case(scan, anomaly, severity, self.smoothed_masks[anomaly], self.truths[anomaly])
        drawn = draws or self.draws(scan)
        blob, *parts = self.drawn_masks(scan) if draws is None else self._drawn_masks(draws)
        truth = self._truth(blob)
        for severity in section.severities:
            yield self._case(scan, UNSEEN, severity, blob, truth)
        for variation, mask in zip(drawn.variations, parts, strict=True):
            yield self._case(scan, VARIED, variation.severity, mask, self._truth(mask))
        yield self._case(scan, HYPER, section.hyper.severity, blob, truth)
        # another tool's files hold no weights, so that only the reduction itself can define their truth
        for name, severity, reduction in self.altered.reductions(scan) if self.altered else ():
            truth = self._truth(np.asarray(reduction / np.float32(severity)))
            yield Case(scan, reduction, truth, name, severity, self.intensity(scan))

    def drawn_masks(self, scan: Scan) -> list[Volume]:
        """G(m) of a scan's blob and of its variations; cached until those of two more scans are requested.

        They take longer to compute than all cases of the dementias, so a caller can compute them ahead in another
        thread.
        """
        if scan.key not in self._masks:
            self._masks[scan.key] = self._drawn_masks(self.draws(scan))
            while len(self._masks) > 2:
                del self._masks[next(iter(self._masks))]
        return self._masks[scan.key]

    def _drawn_masks(self, drawn: Draws) -> list[Volume]:
        lattice = self.protocol.lattice
        parts = [varied.variation_mask(variation, lattice) for variation in drawn.variations]
        return [blobs.blob_mask(drawn.blob, lattice, self.protocol.testsets.sigma_mm), *parts]

    @staticmethod
    def recipe(protocol: Protocol, scans: Sequence[str]) -> str:
        """A hash of everything that determines the cases: how they are simulated, and the hashes `scans`."""
        content = protocol.model_dump(mode="json", include={"grid", "intensity", "testsets"})
        revisions = [hypometabolism.REVISION, blobs.REVISION, varied.REVISION, shifts.REVISION]
        return content_hash(content, [regions.regions_digest(), revisions, atlas.versions()], list(scans))

    @cached_property
    def sketch(self) -> dict[str, float]:
        """Summary numbers of the cases; between machines they agree to about 1e-4, while bytes may differ."""
        numbers = {
            "brain_voxels": float(self.brain.sum()),
            "mean_uptake": float(np.mean([scan.data[self.brain].mean(dtype=np.float64) for scan in self.scans])),
        }
        # relative to the nominal severity
        sizes = {name: [_sketched(mask, self.truths[name])] for name, mask in self.smoothed_masks.items()}
        for scan in self.scans[:SKETCHED]:
            for case in self.cases(scan):
                if case.anomaly in (UNSEEN, VARIED):
                    relative = np.asarray(case.reduction / np.float32(case.severity))
                    sizes.setdefault(case.anomaly, []).append(_sketched(relative, case.truth))
        for anomaly, of_scans in sizes.items():
            voxels, effective = np.mean(of_scans, axis=0).tolist()
            numbers |= {f"{anomaly}.truth_voxels": voxels, f"{anomaly}.effective_reduction": effective}
        return {name: float(f"{value:.6g}") for name, value in numbers.items()}

    def moved_truth(self, case: Case, move: Callable[[Volume], Volume]) -> Truth:
        """The ground truth of a case in a brain that is moved.

        Args:
            case: The case.
            move: Moves a smoothed mask with the brain.

        Returns:
            (X, Y, Z) int8; the brain mask stays that of the atlas.
        """
        support = self.smoothed_supports.get(case.anomaly)
        moved = None if support is None else move(support)
        return self._truth(move(np.asarray(case.reduction / np.float32(case.severity))), moved)

    def _truth(self, smoothed: Volume, support: Volume | None = None) -> Truth:
        section = self.protocol.testsets
        return hypometabolism.truth(smoothed, self.brain, section.positive, section.ignored, support)

    def _case(self, scan: Scan, anomaly: str, severity: float, smoothed: Volume, truth: Truth) -> Case:
        reduction = hypometabolism.reduction(smoothed, severity)
        return Case(
            scan=scan,
            reduction=-reduction if anomaly == HYPER else reduction,
            truth=truth,
            anomaly=anomaly,
            severity=severity,
            intensity=self.intensity(scan),
        )


def _sketched(smoothed: Volume, truth: Truth) -> tuple[float, float]:
    """Number of ground-truth voxels, and the mean of G(m) in them (0 if there are none, as JSON has no NaN)."""
    inside = truth == 1
    return float(inside.sum()), float(smoothed[inside].mean(dtype=np.float64)) if inside.any() else 0.0
