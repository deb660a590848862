"""How far a cohort is from a linear, Gaussian world: tails and dependence of component scores, prediction from afar.

In a linear, Gaussian world a linear filter is the best detector of lesions, so that no network can show more. Scans are
used at 4 mm, smoothed to 12 mm (`statistics.ScanStatistics.coarse`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from uadbench.types import Values

COMPONENTS = 10
PATCHES = 24
PATCH_MM, FAR_MM = 16.0, 28.0
"""The edge of a patch, and the distance of its centre from the tissue that predicts it."""

RIDGES = tuple(10.0**power for power in range(-4, 2))
"""Candidates of the penalty, relative to the mean of the diagonal of the kernel matrix."""

WIDTHS = (0.5, 1.0, 2.0, 4.0)
"""Candidates of the width of the Gaussian kernel, relative to the median distance of two scans."""

PARTS = 5
"""The number of parts of the cross-validation."""


@dataclass(frozen=True)
class Prediction:
    """The explained variance (R2) of patches predicted from far tissue of held-out scans.

    Attributes:
        ridge: By ridge regression, which is linear.
        kernel: By kernel ridge regression with a Gaussian or the linear kernel, whichever predicts better.
    """

    ridge: float
    kernel: float


def component_scores(images: Values) -> Values:
    """The scores of the first principal components.

    Args:
        images: (scans, voxels).

    Returns:
        (scans, COMPONENTS), each with unit variance.
    """
    off = images - images.mean(axis=0)
    _, vectors = np.linalg.eigh(off @ off.T)
    scores = vectors[:, ::-1][:, :COMPONENTS]
    return np.asarray(scores / scores.std(axis=0))


def excess_kurtosis(scores: Values) -> Values:
    """The excess kurtosis of each column, 0 for a Gaussian (bias-corrected; Joanes and Gill 1998, Statistician 47:183).

    Args:
        scores: (scans, components).

    Returns:
        (components,).
    """
    return np.asarray(stats.kurtosis(scores, axis=0, bias=False))


def distance_correlations(scores: Values) -> Values:
    """The squared distance correlation of each pair of columns, 0 if they are independent.

    The estimator is bias-corrected, so that its mean is 0 for independent columns (Szekely and Rizzo 2014, Ann Stat
    42:2382).

    Args:
        scores: (scans, components).

    Returns:
        (pairs,).
    """
    centred = [_u_centred(np.abs(column[:, None] - column)) for column in scores.T]
    norms = [float((a * a).sum()) for a in centred]
    count = len(centred)
    return np.array(
        [
            (centred[i] * centred[j]).sum() / np.sqrt(norms[i] * norms[j])
            for i in range(count)
            for j in range(i + 1, count)
        ]
    )


def _u_centred(distances: Values) -> Values:
    n = len(distances)
    rows = distances.sum(axis=0) / (n - 2)
    centred = distances - rows[:, None] - rows + distances.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return np.asarray(centred)


def far_prediction(images: Values, places: Values, seed: int = 0) -> Prediction:
    """Predict the mean of patches from all tissue that is further away, in held-out scans.

    Penalty and width are chosen per patch by the error in other held-out scans (nested cross-validation).

    Args:
        images: (scans, voxels).
        places: (voxels, 3) MNI coordinates in mm.
        seed: The seed of the choice of patches and of the division of scans.

    Returns:
        R2 of both predictions, the mean over patches.
    """
    rng = np.random.default_rng(seed)
    part = rng.permutation(len(images)) % PARTS
    centres = places[rng.choice(len(places), PATCHES, replace=False)]
    ridge, kernel = [], []
    for centre in centres:
        distance = np.abs(places - centre).max(axis=1)
        target = images[:, distance <= PATCH_MM / 2].mean(axis=1)
        target = (target - target.mean()) / target.std()
        far = images[:, np.linalg.norm(places - centre, axis=1) > FAR_MM]
        far = far - far.mean(axis=0)
        linear = far @ far.T
        squared = np.add.outer(np.diag(linear), np.diag(linear)) - 2 * linear
        middle = np.median(squared[np.triu_indices(len(squared), 1)])
        curved = [np.exp(-squared / (2 * width**2 * middle)) for width in WIDTHS]
        ridge.append(_explained([linear], target, part))
        kernel.append(_explained([linear, *curved], target, part))
    return Prediction(float(np.mean(ridge)), float(np.mean(kernel)))


def _explained(kernels: list[Values], target: Values, part: npt.NDArray[np.int64]) -> float:
    """R2 of held-out scans; the kernel and the penalty are chosen by the error in other held-out scans."""
    predicted = np.empty_like(target)
    for held_out in range(PARTS):
        test, inner = part == held_out, part == (held_out + 1) % PARTS
        errors: dict[tuple[int, float], float] = {}
        for number, kernel in enumerate(kernels):
            for ridge, values in zip(RIDGES, _predict(kernel, target, ~test & ~inner, inner, RIDGES), strict=True):
                errors[number, ridge] = float(np.square(values - target[inner]).sum())
        number, ridge = min(errors, key=lambda choice: errors[choice])
        predicted[test] = _predict(kernels[number], target, ~test, test, (ridge,))[0]
    return float(1 - np.square(predicted - target).sum() / np.square(target - target.mean()).sum())


def _predict(
    kernel: Values,
    target: Values,
    fitted: npt.NDArray[np.bool_],
    test: npt.NDArray[np.bool_],
    ridges: tuple[float, ...],
) -> list[Values]:
    """Kernel ridge regression for several penalties, by one eigendecomposition."""
    mean = target[fitted].mean()
    values, vectors = np.linalg.eigh(kernel[np.ix_(fitted, fitted)])
    projected, across = vectors.T @ (target[fitted] - mean), kernel[np.ix_(test, fitted)] @ vectors
    return [mean + across @ (projected / (values + ridge * values.mean())) for ridge in ridges]
