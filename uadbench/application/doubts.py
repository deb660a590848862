"""Checks whether a scan resembles the scans that the model was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uadbench.application.trained import ModelOutput, TrainedModel
from uadbench.cohorts.file_cohort import FILLED, filled

USUAL_UPTAKE = (0.7, 2.0)
"""The usual range of the mean in the brain of FDG scans, in SUVR relative to cerebellum and pons."""
FAR = 10.0
"""A score further from 0 than this, in SDs of healthy scans, suggests another unit or processing, not a disease."""


def doubts(answer: ModelOutput, trained: TrainedModel) -> Iterator[str]:
    """Yield one sentence for each reason to doubt the output of the model.

    Args:
        answer: The output of the model for the scan.
        trained: The model.
    """
    brain = trained.calibration.brain.numpy()
    share = filled(answer.scan, brain)
    if share < FILLED:
        yield f"the scan fills {share:.0%} of the MNI brain; without registration to MNI space, maps are meaningless"
    if trained.protocol.intensity.kind == "suvr":
        mean, (low, high) = float(answer.scan[brain].mean(dtype=np.float64)), USUAL_UPTAKE
        if not low <= mean <= high:
            yield (
                f"the mean in the brain is {mean:.3g}, and {low} to {high} is usual of SUVR relative to cerebellum and "
                "pons; try --suvr cerebellum-pons"
            )
    if abs(answer.score) > FAR:
        yield f"the score of {answer.score:.3g} SD lies far from healthy scans; the scan is of another kind or unit"
    scans = len(trained.calibration.validation_scores)
    if scans < 20:
        yield f"only {scans} healthy validation scans set the scale; the percentile is coarse"
    if trained.result.cohort.name.startswith("phantom"):
        yield "the model was trained on the phantom, which is simulated, not on real scans"
