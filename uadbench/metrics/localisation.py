"""Voxelwise localisation metrics of anomaly maps: average precision, AUROC, recall, Dice, and correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REVISION = 4
"""Increase this number whenever the results for the same maps change."""


@dataclass(frozen=True)
class Ranking:
    """Localisation scores of N cases; NaN where a score is undefined.

    Attributes:
        average_precision: (N,) float64.
        auroc: (N,) float64, the area under the voxelwise ROC curve.
        prevalence: (N,) float64, the share of positive voxels among all voxels that are not ignored, which is the
            average precision of an uninformative map.
        oracle_dice: (N,) float64, the Dice at the best threshold, which can be chosen only if the truth is known.
        recall: (N, T) float64, the recall at each of T thresholds.
        dice: (N, T) float64, the Dice at each threshold.
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
    (`average_precision_score`, `roc_auc_score`). The scores of a case do not depend on other cases in the batch. The
    computation uses compiled code on a CPU (`compiled.ranking`) and torch on other devices, with equal results.

    Args:
        scores: (N, V) float32, higher = more anomalous.
        truth: (V,) int8, or (N, V) if cases differ: 1 = positive, 0 = negative, -1 = ignored (any score is allowed).
        thresholds: Voxels with scores above a threshold are detected.

    Returns:
        The scores. Without positives, all except the prevalence are NaN; without negatives, the AUROC is NaN.

    Raises:
        ValueError: If the shapes do not match, or the score of a voxel that is not ignored is NaN.
    """
    if scores.dim() != 2 or truth.shape not in (scores.shape, scores.shape[1:]):
        raise ValueError(f"truth {tuple(truth.shape)} does not fit scores {tuple(scores.shape)}; expected (N, V)")
    shared = _positives_and_negatives(truth) if truth.dim() == 1 else None
    levels = torch.tensor(thresholds, dtype=scores.dtype, device=scores.device)
    rank_one = compiled_row if scores.device.type == "cpu" else plain_row
    rows = [
        rank_one(values, *(shared or _positives_and_negatives(truth[case])), levels)
        for case, values in enumerate(scores.detach())
    ]
    table = torch.tensor(rows, dtype=torch.float64, device=scores.device).reshape(-1, 4 + 2 * len(levels))
    if table[:, 0].isnan().any():
        _refuse_nan(scores, truth)
    recall, dice = table[:, 4 : 4 + len(levels)], table[:, 4 + len(levels) :]
    return Ranking(table[:, 0], table[:, 1], table[:, 2], table[:, 3], recall, dice)


def correlation(scores: Tensor, reduction: Tensor) -> Tensor:
    """Pearson correlation of anomaly maps with the true reduction.

    Args:
        scores: (N, V) float32, the maps in the voxels of the brain.
        reduction: (N, V) float32, the true reduction in these voxels.

    Returns:
        (N,) float64; NaN if the map or the reduction is constant.
    """
    if scores.device.type == "cpu":
        from uadbench.metrics.compiled import sums

        rows = zip(scores.float().contiguous(), reduction.float().contiguous(), strict=True)
        correlations = [sums.correlation(one.numpy(), other.numpy()) for one, other in rows]
        return torch.tensor(correlations, dtype=torch.float64)
    a, b = scores.double(), reduction.double()
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return ((a * b).sum(dim=1) / scale).where(scale > 0, math.nan).clamp(-1, 1)


def above_chance(average_precision: Tensor, prevalence: Tensor) -> Tensor:
    """Average precision normalised by chance, (AP - chance) / (1 - chance).

    It is 0 for an uninformative map and 1 for a perfect one, whatever the size of the anomaly, and can therefore be
    compared between anomalies of different sizes.

    Args:
        average_precision: (N,), the average precision.
        prevalence: (N,), the average precision of an uninformative map.

    Returns:
        (N,); negative below chance, NaN if every voxel is positive.
    """
    room = 1 - prevalence
    return ((average_precision - prevalence) / room).where(room > 0, math.nan)


def mean_inside(values: Tensor, where: Tensor) -> Tensor:
    """The mean of values over a mask.

    Args:
        values: (N, V) float32.
        where: (V,) bool, the mask.

    Returns:
        (N,) float64; NaN if the mask is empty.
    """
    return sum_where(values, where) / where.sum()


def sum_where(values: Tensor, where: Tensor) -> Tensor:
    """The sum of values over a mask.

    Args:
        values: (N, V) float32.
        where: (V,) bool, the mask.

    Returns:
        (N,) float64.
    """
    if values.device.type == "cpu":
        from uadbench.metrics.compiled import sums

        rows, mask = values.float().contiguous(), where.numpy()
        return torch.tensor([sums.sum_where(row.numpy(), mask) for row in rows], dtype=torch.float64)
    return values.double() @ where.double()


def _positives_and_negatives(truth: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of positive and of negative voxels, both in ascending order."""
    return (truth == 1).nonzero().squeeze(1), (truth == 0).nonzero().squeeze(1)


def _refuse_nan(scores: Tensor, truth: Tensor) -> None:
    for case, values in enumerate(scores):
        if values[(truth if truth.dim() == 1 else truth[case]) >= 0].isnan().any():
            raise ValueError(f"case {case} of the batch has scores that are NaN")


def compiled_row(scores: Tensor, positives: Tensor, negatives: Tensor, levels: Tensor) -> list[float]:
    """The scores of one case, on a CPU by compiled code.

    Args:
        scores: (V,) float32.
        positives: (P,) the indices of positive voxels.
        negatives: (M,) the indices of negative voxels.
        levels: (T,) the thresholds.

    Returns:
        Average precision, AUROC, prevalence, oracle Dice, the recall at each threshold, and the Dice at each
        threshold. The first is NaN if the score of one of these voxels is NaN.
    """
    from uadbench.metrics.compiled.ranking import rank_case

    if len(positives) == 0:
        return _without_positives(len(negatives), len(levels))
    arrays = (scores.float().contiguous(), positives, negatives, levels.float())
    row: list[float] = rank_case(*(each.numpy() for each in arrays)).tolist()
    return row


def plain_row(scores: Tensor, positives: Tensor, negatives: Tensor, levels: Tensor) -> list[float]:
    """The scores of one case, on any device by torch.

    Args:
        scores: (V,) float32.
        positives: (P,) the indices of positive voxels.
        negatives: (M,) the indices of negative voxels.
        levels: (T,) the thresholds.

    Returns:
        The same values as `compiled_row`.
    """
    if len(positives) == 0:
        return _without_positives(len(negatives), len(levels))
    high, low = scores[positives].sort().values, scores[negatives].sort().values
    p, n = len(high), len(low)
    if high[-1].isnan() or (n and low[-1].isnan()):  # NaN sorts last
        return [math.nan] * (4 + 2 * len(levels))
    below = torch.searchsorted(low, high)  # for each positive, the number of negatives with a lower score
    hits = p - torch.searchsorted(high, high)  # the number of positives with an equal or higher score
    precision = hits.double() / (hits + n - below)
    # the mean of differences, so that equal precisions give exactly that precision
    average_precision = float(precision[0] + (precision - precision[0]).mean())
    oracle_dice = float((2 * hits.double() / (hits + n - below + p)).max())
    auroc = math.nan
    if n:
        ties_and_below = torch.searchsorted(low, high, right=True)
        auroc = int((below + ties_and_below).sum()) / (2 * p * n)
    detected = p - torch.searchsorted(high, levels, right=True)
    false = n - torch.searchsorted(low, levels, right=True)
    dice = 2 * detected.double() / (detected + false + p)
    return [average_precision, auroc, p / (p + n), oracle_dice, *(detected.double() / p).tolist(), *dice.tolist()]


def _without_positives(negatives: int, levels: int) -> list[float]:
    return [math.nan, math.nan, 0.0 if negatives else math.nan, *[math.nan] * (1 + 2 * levels)]
