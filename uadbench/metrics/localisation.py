"""How well an anomaly map tells anomalous voxels from healthy ones: average precision, AUROC, recall and Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

REVISION = 2
"""Raise it whenever the same maps get other numbers."""


@dataclass(frozen=True)
class Ranking:
    """Scores of N cases, each (N,) float64, or (N, T) for T thresholds.

    `prevalence` is the share of positive voxels among those that count: the average precision of a map that tells
    nothing. `recall` and `dice` are those of the voxels above each threshold; `oracle_dice` is the best Dice of any
    threshold, which only who knows the truth can choose. What the truth leaves undefined is NaN.
    """

    average_precision: Tensor
    auroc: Tensor
    prevalence: Tensor
    oracle_dice: Tensor
    recall: Tensor
    dice: Tensor


def rank(scores: Tensor, truth: Tensor, thresholds: Sequence[float] = ()) -> Ranking:
    """Exact voxelwise average precision, area under the ROC curve, recall and Dice of each case.

    Average precision is the sum over distinct thresholds of (R_n - R_(n-1)) P_n, without interpolation; AUROC is
    the Mann-Whitney statistic, in which a tie counts half. Both are scikit-learn's definitions
    (`average_precision_score`, `roc_auc_score`). A case's scores do not depend on the others in the batch.

    Parameters
    ----------
    scores
        (N, V) float32, higher = more suspicious.
    truth
        (V,), or (N, V) where cases differ; int8: 1 positive, 0 negative, -1 ignored (its score may be anything).
    thresholds
        A voxel is found where its score lies above.

    Returns
    -------
    Ranking
        All but the prevalence are NaN without positives, AUROC also without negatives.

    Raises
    ------
    ValueError
        Where shapes do not fit, or a voxel that counts scores NaN.

    """
    if scores.dim() != 2 or truth.shape not in (scores.shape, scores.shape[1:]):
        raise ValueError(f"truth {tuple(truth.shape)} does not fit scores {tuple(scores.shape)}; expected (N, V)")
    shared = _positives_and_negatives(truth) if truth.dim() == 1 else None
    levels = torch.tensor(thresholds, dtype=scores.dtype, device=scores.device)
    rows = []
    for case, values in enumerate(scores.detach()):
        positive, negative = shared or _positives_and_negatives(truth[case])
        rows.append(_rank(_ascending(values[positive], case), _ascending(values[negative], case), levels))
    table = torch.tensor(rows, dtype=torch.float64, device=scores.device).reshape(-1, 4 + 2 * len(levels))
    recall, dice = table[:, 4 : 4 + len(levels)], table[:, 4 + len(levels) :]
    return Ranking(table[:, 0], table[:, 1], table[:, 2], table[:, 3], recall, dice)


def correlation(scores: Tensor, reduction: Tensor, counts: Tensor) -> Tensor:
    """Pearson correlation of anomaly maps with the true reduction, over the voxels that count.

    Parameters
    ----------
    scores, reduction
        (N, V) float32.
    counts
        (V,) bool, the brain as a rule.

    Returns
    -------
    Tensor
        (N,) float64; NaN where the map or the reduction is constant.

    """
    a, b = scores[:, counts].double(), reduction[:, counts].double()
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return ((a * b).sum(dim=1) / scale).where(scale > 0, math.nan).clamp(-1, 1)


def _positives_and_negatives(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the voxels that count; both are in the truth's order."""
    return (truth == 1).nonzero().squeeze(1), (truth == 0).nonzero().squeeze(1)


def _ascending(values: Tensor, case: int) -> Tensor:
    """Sorted values; raises ValueError where one is NaN (NaN sorts last, in NumPy as in torch)."""
    # NumPy sorts floats with vector instructions, ten times faster than torch does on a CPU
    ordered = torch.from_numpy(np.sort(values.numpy())) if values.device.type == "cpu" else values.sort().values
    if len(ordered) and ordered[-1].isnan():
        raise ValueError(f"case {case} of the batch has scores that are NaN")
    return ordered


def _rank(positives: Tensor, negatives: Tensor, levels: Tensor) -> list[float]:
    """The row of a case, from the sorted scores of both classes: four numbers, recall and Dice at each level.

    Recall rises only at thresholds that are a positive's score. So the sum over thresholds is a mean over positives
    of the precision at their score, and it takes counts of values not below it, but no sorting of labels. The best
    Dice, too, is reached at a positive's score: a threshold between two of them only adds negatives.
    """
    p, n = len(positives), len(negatives)
    prevalence = p / (p + n) if p + n else math.nan
    if p == 0:
        return [math.nan, math.nan, prevalence, *[math.nan] * (1 + 2 * len(levels))]
    below = torch.searchsorted(negatives, positives)  # negatives that score less, per positive
    hits = p - torch.searchsorted(positives, positives)  # positives that score as much or more
    precision = hits.double() / (hits + n - below)
    # a mean of differences: equal precisions then give exactly that precision
    average_precision = float(precision[0] + (precision - precision[0]).mean())
    oracle_dice = float((2 * hits.double() / (hits + n - below + p)).max())
    auroc = math.nan
    if n:
        ties_and_below = torch.searchsorted(negatives, positives, right=True)
        auroc = int((below + ties_and_below).sum()) / (2 * p * n)
    found = p - torch.searchsorted(positives, levels, right=True)
    false = n - torch.searchsorted(negatives, levels, right=True)
    dice = 2 * found.double() / (found + false + p)
    return [average_precision, auroc, prevalence, oracle_dice, *(found.double() / p).tolist(), *dice.tolist()]
