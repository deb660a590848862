"""Failed trainings: which runs count for a model's mean, variance and rank, and which do not.

A training by gradients failed if the model's reconstruction error on healthy validation scans is not finite, or not at
least `MARGIN` below that of the mean image on the same scans: the network has learnt nothing about the person. Models
that do not reconstruct, or are fitted in closed form or not at all, cannot fail in this way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from uadbench.results.schema import Result

MEAN = "mean"
"""The model that reconstructs the mean image."""

MARGIN = 0.01
"""A network that returns the mean image itself may have an error that is lower by rounding."""


def failures(results: Sequence[Result]) -> list[str]:
    """Why the training of each result failed.

    Args:
        results: Results of the same protocol and cohort. If the mean image is among them, it judges the results of its
            folds; otherwise only an error that is not finite is judged.

    Returns:
        The reason of each result; "" if the training did not fail, or cannot be judged.
    """
    means = {
        result.fold: result.headline.validation_mse
        for result in results
        if result.model.name == MEAN and result.model.answers is None
    }
    return [_reason(result, means.get(result.fold)) for result in results]


def trained(result: Result) -> bool:
    """Whether another training could give another score: gradient training, or a tool that ran elsewhere."""
    return result.training is not None or result.model.answers is not None


def share_failed(failed: int, runs: int) -> str:
    """The number of failed trainings in words, such as "1 of 3 failed"; "" without any."""
    return f"{failed} of {runs} failed" if failed else ""


def _reason(result: Result, mean: float | None) -> str:
    error = result.headline.validation_mse
    if result.training is None or not result.model.reconstructs:
        return ""
    if error is None or not math.isfinite(error):
        return "healthy validation error is not finite"
    if mean is not None and error > (1 - MARGIN) * mean:
        return f"healthy validation error {error:.3g}, mean image {mean:.3g}"
    return ""
