"""Scores of the reconstructions of cases: similarity, recovered uptake, damage, identity and healthiness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.chunks import Columns
from uadbench.evaluation.inference import Observation
from uadbench.metrics import reconstruction, restoration
from uadbench.runtime.files import keyed_seed
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import NO_DEMENTIA, Case

REVISIONS = {"reconstruction": reconstruction.REVISION, "restoration": restoration.REVISION}

CASE_PAIRS = {
    "restoration": ("from altered", "healthy"),
    "residual": ("from altered", "altered"),
    "consistency": ("from altered", "from healthy"),
}
"""(x̂', x), (x̂', x') and (x̂', x̂)."""

MOST_REFERENCE_SCANS = 100
"""Largest number of test scans among which a reconstruction is identified, so that memory is limited."""


@dataclass(frozen=True)
class RestorationScorer:
    """Scores the reconstructions of cases against their healthy scans and those of other people.

    Images are named "healthy" (x), "altered" (x'), "from healthy" (x̂) and "from altered" (x̂').

    Attributes:
        test_sets: The healthy test scans, from which reference scans are chosen.
        calibration: Holds the brain mask, and the variance between healthy people.
    """

    test_sets: SimulatedCases
    calibration: ModelCalibration

    def score(self, cases: Sequence[Case], altered: Observation, healthy: Observation) -> Columns:
        """Score N cases of one scan, one anomaly and one truth; no columns if the model does not reconstruct.

        Args:
            cases: The N cases.
            altered: The model's input and output for the N altered images.
            healthy: The model's input and output for their healthy scan.
        """
        if altered.reconstruction is None or healthy.reconstruction is None:
            return {}
        images = {
            "altered": altered.images,
            "from altered": altered.reconstruction,
            "healthy": healthy.images,
            "from healthy": healthy.reconstruction,
        }
        scores = self.restored(images, cases[0])
        if cases[0].anomaly not in NO_DEMENTIA:  # the paper's metrics are slow
            scores |= reconstruction.compare(images, CASE_PAIRS, self.regions(cases[0]))
        return {name: values.cpu().numpy() for name, values in scores.items()}

    def restored(self, images: dict[str, Tensor], case: Case) -> dict[str, Tensor]:
        """Compute recovery, damage, identification, and the healthiness of x, x', x̂ and x̂'.

        Args:
            images: Images by name, (N, X, Y, Z) or (1, X, Y, Z) float32, normalised units.
            case: Any of the N cases; they share scan and truth.

        Returns:
            Name of the score -> (N,) float64.
        """
        labels = self.calibration.truth_in_brain(case.truth)
        truth, outside = labels == 1, labels == 0
        brains = {name: self.calibration.in_brain(stack) for name, stack in images.items()}  # (N or 1, V)
        suvr = {name: brain * case.intensity.scale + case.intensity.offset for name, brain in brains.items()}
        restored, healthy, variance = brains["from altered"], brains["healthy"], self.calibration.variance
        scores = {
            "recovered": restoration.recovered_fraction(suvr["from altered"], suvr["altered"], suvr["healthy"], truth),
            "damage": restoration.damage(restored, healthy, outside, variance),
            "identified": self._reference_scans.identified(restored, healthy[0], self._reference_index(case)),
        }
        for name, stack in suvr.items():
            value = restoration.healthiness(stack, truth, outside)
            scores[f"healthiness.{name.replace(' ', '_')}"] = value.expand(len(images["altered"]))
        return scores

    def regions(self, case: Case) -> dict[str, Tensor]:
        """The regions in which images are compared: name -> (1, X, Y, Z) bool."""
        brain = self.calibration.brain
        truth = torch.from_numpy(case.truth).to(brain.device)[None]
        whole = torch.ones_like(brain)[None]
        return {"whole": whole, "brain": brain[None], "truth": truth == 1, "outside": truth == 0}

    @cached_property
    def _reference_keys(self) -> list[tuple[str, str]]:
        """Keys of the reference scans: all healthy test scans, or the first MOST_REFERENCE_SCANS of them by a hash."""
        seed = self.test_sets.protocol.split.seed
        keys = [scan.key for scan in self.test_sets.scans]
        # "crowd", an earlier name of the reference scans, is part of the hash: another string would change scores
        return sorted(keys, key=lambda key: keyed_seed("crowd", seed, *key))[:MOST_REFERENCE_SCANS]

    @cached_property
    def _reference_scans(self) -> restoration.ReferenceScans:
        """The brains of the reference scans in normalised units; loaded when first needed."""
        scans = {scan.key: scan for scan in self.test_sets.scans}
        chosen = [scans[key] for key in self._reference_keys]
        volumes = [self.test_sets.intensity(scan).normalise(scan.data) for scan in chosen]
        brains = np.stack([volume[self.test_sets.brain] for volume in volumes])
        return restoration.ReferenceScans(torch.from_numpy(brains).to(self.calibration.brain.device))

    def _reference_index(self, case: Case) -> int | None:
        """Index of a case's healthy scan among the reference scans; None if it is not among them."""
        keys = self._reference_keys
        return keys.index(case.scan.key) if case.scan.key in keys else None
