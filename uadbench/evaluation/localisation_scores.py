"""Scores of the anomaly maps of cases: localisation of the anomaly, and the score of the whole scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.chunks import Columns
from uadbench.metrics import localisation, scan_score
from uadbench.types import Case

REVISIONS = {"localisation": localisation.REVISION, "subject": scan_score.REVISION}


@dataclass(frozen=True)
class LocalisationScorer:
    """Scores native and standard maps of cases against their ground truth.

    Attributes:
        calibration: Computes standard maps, and holds the thresholds.
    """

    calibration: ModelCalibration

    def score(self, cases: Sequence[Case], native: Tensor) -> Columns:
        """Score N cases with the same anomaly and truth.

        Args:
            cases: The N cases.
            native: Their native maps, (N, X, Y, Z) float32.

        Returns:
            One column per score: for the native and the standard map `ap`, `auroc`, and `correlation` with the true
            reduction; for the standard map the normalised average precision, Dice and recall at each threshold, the
            best Dice, and the score of the whole scan; for the case the prevalence and the mean reduction in the ground
            truth.
        """
        truth = self.calibration.truth_in_brain(cases[0].truth)
        reduction = self.calibration.arrays_in_brain([case.reduction for case in cases])  # (N, V)
        maps = {"native": self.calibration.in_brain(native), "standard": self.calibration.standard_map(native)}
        columns: Columns = {"effective_reduction": _array(localisation.mean_inside(reduction, truth == 1))}
        thresholds = self.calibration.thresholds
        levels = [threshold.value for threshold in thresholds.values()]
        for label, scores in maps.items():
            ranking = localisation.rank(scores, truth, levels if label == "standard" else ())
            columns[f"ap.{label}"] = _array(ranking.average_precision)
            columns[f"auroc.{label}"] = _array(ranking.auroc)
            columns["prevalence"] = _array(ranking.prevalence)
            columns[f"correlation.{label}"] = _array(localisation.correlation(scores, reduction))
        columns["normalised_ap"] = _array(localisation.above_chance(ranking.average_precision, ranking.prevalence))
        columns["dice.oracle"] = _array(ranking.oracle_dice)
        for index, rate in enumerate(thresholds):
            columns[f"recall.fpr{rate:g}"] = _array(ranking.recall[:, index])
            columns[f"dice.fpr{rate:g}"] = _array(ranking.dice[:, index])
        columns["subject.score"] = _array(scan_score.top_mean(maps["standard"], self.calibration.top))
        return columns


def _array(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = values.cpu().numpy()
    return array
