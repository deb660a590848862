"""Scores of shifted test scans: the score of a whole scan, and the average precision on altered scans."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.chunks import Columns
from uadbench.evaluation.scan_scores import detection_scores
from uadbench.metrics import localisation
from uadbench.simulation.shifted_cases import ShiftedImage


@dataclass(frozen=True)
class ShiftScorer:
    """Scores shifted scans at the thresholds of unshifted validation scans.

    Attributes:
        calibration: Computes standard maps, and holds the thresholds.
    """

    calibration: ModelCalibration

    def score(self, image: ShiftedImage, native: Tensor) -> Columns:
        """Score one image.

        Args:
            image: The image.
            native: Its native map, (1, X, Y, Z) float32.

        Returns:
            The columns: identification and scan score; for a healthy scan also the share of the brain above each
            threshold; for an altered scan also `prevalence` and `ap` of the native and the standard map.
        """
        row: Columns = {
            "participant_id": [image.scan.participant],
            "session_id": [image.scan.session],
            "anomaly": [image.anomaly],
            "severity": [image.severity],
        }
        standard = self.calibration.standard_map(native)
        scores = detection_scores(standard, self.calibration)
        if image.truth is None:
            return row | {name: [value] for name, value in scores.items()}
        row["subject.score"] = [scores["subject.score"]]
        truth = self.calibration.truth_in_brain(image.truth)
        for label, maps in (("native", self.calibration.in_brain(native)), ("standard", standard)):
            ranking = localisation.rank(maps, truth)
            row[f"ap.{label}"] = [float(ranking.average_precision[0])]
            row["prevalence"] = [float(ranking.prevalence[0])]
        return row
