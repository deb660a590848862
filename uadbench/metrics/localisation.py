"""How well an anomaly map tells anomalous voxels from healthy ones: average precision, AUROC, recall and Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REVISION = 3
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
    (`average_precision_score`, `roc_auc_score`). A case's scores do not depend on the others in the batch. On a CPU
    this is compiled code (`compiled.ranking`), elsewhere torch, with equal results.

    Args:
        scores: (N, V) float32, higher = more suspicious.
        truth: (V,), or (N, V) where cases differ; int8: 1 positive, 0 negative, -1 ignored (its score may be anything).
        thresholds: A voxel is found where its score lies above.

    Returns:
        All but the prevalence are NaN without positives, AUROC also without negatives.

    Raises:
        ValueError: Where shapes do not fit, or a voxel that counts scores NaN.
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
        scores, reduction: (N, V) float32, voxels of the brain.

    Returns:
        (N,) float64; NaN where the map or the reduction is constant.
    """
    if scores.device.type == "cpu":
        from uadbench.metrics.compiled import sums

        rows = zip(scores.float().contiguous(), reduction.float().contiguous(), strict=True)
        found = [sums.correlation(one.numpy(), other.numpy()) for one, other in rows]
        return torch.tensor(found, dtype=torch.float64)
    a, b = scores.double(), reduction.double()
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return ((a * b).sum(dim=1) / scale).where(scale > 0, math.nan).clamp(-1, 1)


def mean_inside(values: Tensor, where: Tensor) -> Tensor:
    """Mean of values (N, V) over the voxels `where` (V,) bool, (N,) float64; NaN where there are none."""
    return sum_where(values, where) / where.sum()


def sum_where(values: Tensor, where: Tensor) -> Tensor:
    """Sums of values (N, V) float32 over the voxels `where` (V,) bool, (N,) float64."""
    if values.device.type == "cpu":
        from uadbench.metrics.compiled import sums

        rows, mask = values.float().contiguous(), where.numpy()
        return torch.tensor([sums.sum_where(row.numpy(), mask) for row in rows], dtype=torch.float64)
    return values.double() @ where.double()


def _positives_and_negatives(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the voxels that count; both are in the truth's order."""
    return (truth == 1).nonzero().squeeze(1), (truth == 0).nonzero().squeeze(1)


def _refuse_nan(scores: Tensor, truth: Tensor) -> None:
    for case, values in enumerate(scores):
        if values[(truth if truth.dim() == 1 else truth[case]) >= 0].isnan().any():
            raise ValueError(f"case {case} of the batch has scores that are NaN")


def compiled_row(scores: Tensor, positives: Tensor, negatives: Tensor, levels: Tensor) -> list[float]:
    """The row of a case on a CPU, from (V,) scores: four numbers, recall and Dice at each level."""
    from uadbench.metrics.compiled.ranking import rank_case

    if len(positives) == 0:
        return _without_positives(len(negatives), len(levels))
    arrays = (scores.float().contiguous(), positives, negatives, levels.float())
    row: list[float] = rank_case(*(each.numpy() for each in arrays)).tolist()
    return row


def plain_row(scores: Tensor, positives: Tensor, negatives: Tensor, levels: Tensor) -> list[float]:
    """The same in torch, on any device. Rows begin with NaN where a score that counts is NaN."""
    if len(positives) == 0:
        return _without_positives(len(negatives), len(levels))
    high, low = scores[positives].sort().values, scores[negatives].sort().values
    p, n = len(high), len(low)
    if high[-1].isnan() or (n and low[-1].isnan()):  # NaN sorts last
        return [math.nan] * (4 + 2 * len(levels))
    below = torch.searchsorted(low, high)  # negatives that score less, per positive
    hits = p - torch.searchsorted(high, high)  # positives that score as much or more
    precision = hits.double() / (hits + n - below)
    # a mean of differences: equal precisions then give exactly that precision
    average_precision = float(precision[0] + (precision - precision[0]).mean())
    oracle_dice = float((2 * hits.double() / (hits + n - below + p)).max())
    auroc = math.nan
    if n:
        ties_and_below = torch.searchsorted(low, high, right=True)
        auroc = int((below + ties_and_below).sum()) / (2 * p * n)
    found = p - torch.searchsorted(high, levels, right=True)
    false = n - torch.searchsorted(low, levels, right=True)
    dice = 2 * found.double() / (found + false + p)
    return [average_precision, auroc, p / (p + n), oracle_dice, *(found.double() / p).tolist(), *dice.tolist()]


def _without_positives(negatives: int, levels: int) -> list[float]:
    return [math.nan, math.nan, 0.0 if negatives else math.nan, *[math.nan] * (1 + 2 * levels)]
