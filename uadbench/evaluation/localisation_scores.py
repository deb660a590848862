"""Scores of the anomaly maps of cases: localisation of the anomaly, and the score of the whole scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.chunks import Columns
from uadbench.metrics import localisation, scan_score
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import Case, Truth, Volume

REVISIONS = {"localisation": localisation.REVISION, "subject": scan_score.REVISION}


@dataclass(frozen=True)
class LocalisationScorer:
    """Scores native and standard maps of cases against their ground truth.

    Attributes:
        calibration: Computes standard maps, and holds the thresholds.
        ceilings: Dementia -> the oracle's average precision, which is the same for all scans and severities.
    """

    calibration: ModelCalibration
    ceilings: Mapping[str, float]

    @classmethod
    def with_ceilings(cls, calibration: ModelCalibration, cases: SimulatedCases) -> LocalisationScorer:
        """Create a scorer with the ceilings of the test sets' dementias."""
        masks = cases.smoothed_masks.items()
        return cls(calibration, {name: ceiling(mask, cases.truths[name], calibration) for name, mask in masks})

    def score(self, cases: Sequence[Case], native: Tensor) -> Columns:
        """Score N cases with the same anomaly and truth.

        Args:
            cases: The N cases.
            native: Their native maps, (N, X, Y, Z) float32.

        Returns:
            One column per score: for the native and the standard map `ap`, `auroc`, and `correlation` with the true
            reduction; for the standard map the normalised average precision, Dice and recall at each threshold, the
            best Dice, and the score of the whole scan; for the case the prevalence, the mean reduction in the ground
            truth, and the ceiling of the average precision.
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
        columns["ap.ceiling"] = np.full(len(cases), self._ceiling_of(cases[0]))
        return columns

    def _ceiling_of(self, case: Case) -> float:
        of_dementia = self.ceilings.get(case.anomaly)
        return ceiling(np.abs(case.reduction), case.truth, self.calibration) if of_dementia is None else of_dementia


def ceiling(reduction: Volume, truth: Truth, calibration: ModelCalibration) -> float:
    """Average precision of the oracle: the true reduction as an anomaly map, smoothed like other maps.

    Args:
        reduction: The reduction or a multiple of it, such as the smoothed mask G(m), (X, Y, Z) float32.
        truth: The ground truth, (X, Y, Z) int8.
        calibration: Defines the smoothing.
    """
    oracle = calibration.smooth(torch.from_numpy(np.array(reduction))[None].to(calibration.brain.device))
    return float(localisation.rank(oracle, calibration.truth_in_brain(truth)).average_precision[0])


def _array(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = values.cpu().numpy()
    return array
