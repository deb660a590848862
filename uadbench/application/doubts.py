"""Reasons to doubt what a model says of a scan: it is unlike the scans that the model has learnt from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uadbench.application.trained import Answer, TrainedModel
from uadbench.cohorts.file_cohort import FILLED, filled

USUAL_UPTAKE = (0.7, 2.0)
"""Mean SUVR in the brain of FDG scans in units of cerebellum and pons; others are of another unit."""
FAR = 10.0
"""SDs of healthy scans: a score beyond this is a scan of another kind rather than a disease."""


def doubts(answer: Answer, trained: TrainedModel) -> Iterator[str]:
    """One sentence for each reason to doubt the answer.

    Args:
        answer: What the model made of the scan.
        trained: The model.
    """
    brain = trained.calibration.brain.numpy()
    share = filled(answer.scan, brain)
    if share < FILLED:
        yield f"the scan fills {share:.0%} of the MNI brain; register it to MNI space, or the maps mean nothing"
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
        yield "the model has learnt from the phantom, which is simulated, and knows no real scan"
