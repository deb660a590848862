"""Healthy test scans crossed with anomalies and severities: cases, made when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from uadbench import atlas
from uadbench.anomalies import hypometabolism, regions
from uadbench.protocol import Protocol
from uadbench.store import content_hash
from uadbench.types import Case, Intensity, Mask, Scan, Truth, Volume


@dataclass(frozen=True)
class SimulatedCases:
    """Every case of the healthy test scans under a protocol; masks are smoothed once for the grid.

    Attributes
    ----------
    protocol : fixes grid, anomalies, severities, truth and intensity
    scans : the healthy test scans on the protocol's grid
    """

    protocol: Protocol
    scans: Sequence[Scan]

    @property
    def names(self) -> list[tuple[str, float]]:
        """The test sets (anomaly, severity), in the order in which cases come."""
        section = self.protocol.testsets
        return [(anomaly, severity) for anomaly in section.anomalies for severity in section.severities]

    @cached_property
    def brain(self) -> Mask:
        """The brain mask on the grid, (X, Y, Z) bool."""
        return atlas.brain_mask(self.protocol.lattice)

    @cached_property
    def smoothed_masks(self) -> dict[str, Volume]:
        """G(m) of every anomaly on the grid, (X, Y, Z) float32 in 0..1."""
        grid, section = self.protocol.lattice, self.protocol.testsets
        return {
            anomaly: hypometabolism.smoothed_mask(anomaly, grid.affine, grid.shape, section.sigma_mm)
            for anomaly in section.anomalies
        }

    @cached_property
    def truths(self) -> dict[str, Truth]:
        """The truth of every anomaly on the grid, (X, Y, Z) int8; the same at all severities."""
        section = self.protocol.testsets
        return {
            anomaly: hypometabolism.truth(smoothed, self.brain, section.positive, section.ignored)
            for anomaly, smoothed in self.smoothed_masks.items()
        }

    def intensity(self, scan: Scan) -> Intensity:
        """The intensity scale of a healthy scan, which its altered versions share."""
        return self.protocol.intensity_of(scan.extent)

    def cases(self, scan: Scan) -> Iterator[Case]:
        """The cases of one scan, in the order of `names`."""
        for anomaly, severity in self.names:
            yield Case(
                scan=scan,
                reduction=hypometabolism.reduction(self.smoothed_masks[anomaly], severity),
                truth=self.truths[anomaly],
                anomaly=anomaly,
                severity=severity,
                intensity=self.intensity(scan),
            )

    @staticmethod
    def recipe(protocol: Protocol, scans: Sequence[str]) -> str:
        """A hash of all that determines the cases exactly: what is simulated how, and `scans`, which tells on which."""
        content = protocol.model_dump(mode="json", include={"grid", "intensity", "testsets"})
        simulation = [regions.regions_digest(), hypometabolism.REVISION, atlas.versions()]
        return content_hash(content, simulation, list(scans))

    @cached_property
    def sketch(self) -> dict[str, float]:
        """A few numbers of the cases themselves: they agree between machines to about 1e-4, bytes need not."""
        numbers = {
            "brain_voxels": float(self.brain.sum()),
            "mean_uptake": float(np.mean([scan.data[self.brain].mean(dtype=np.float64) for scan in self.scans])),
        }
        for anomaly, smoothed in self.smoothed_masks.items():
            inside = self.truths[anomaly] == 1
            numbers[f"{anomaly}.truth_voxels"] = float(inside.sum())
            # relative to the nominal severity; NaN cannot be: a dementia has voxels on any sensible grid
            numbers[f"{anomaly}.effective_reduction"] = (
                float(smoothed[inside].mean(dtype=np.float64)) if inside.any() else 0.0
            )
        return {name: float(f"{value:.6g}") for name, value in numbers.items()}
