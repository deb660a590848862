"""Scores of shifted test scans: the score of a whole scan, and the average precision on altered scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.chunks import Columns
from uadbench.evaluation.inference import Observation
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

    def score(self, images: Sequence[ShiftedImage], seen: Observation) -> list[Columns]:
        """Score N images of one test scan.

        Args:
            images: The N images.
            seen: The model's input and output for them.

        Returns:
            The columns of each image: identification and scan score; for a healthy scan also the share of the brain
            above each threshold; for an altered scan also `prevalence` and `ap` of the native and the standard map.
        """
        native = self.calibration.in_brain(seen.anomaly_map)
        standard = self.calibration.standard_map(seen.anomaly_map)
        rows: list[Columns] = []
        for index, image in enumerate(images):
            own = slice(index, index + 1)
            row: Columns = {
                "participant_id": [image.scan.participant],
                "session_id": [image.scan.session],
                "anomaly": [image.anomaly],
                "severity": [image.severity],
            }
            scores = detection_scores(standard[own], self.calibration)
            if image.truth is None:
                row |= {name: [value] for name, value in scores.items()}
            else:
                row["subject.score"] = [scores["subject.score"]]
                truth = self.calibration.truth_in_brain(image.truth)
                for label, maps in (("native", native), ("standard", standard)):
                    ranking = localisation.rank(maps[own], truth)
                    row[f"ap.{label}"] = [float(ranking.average_precision[0])]
                    row["prevalence"] = [float(ranking.prevalence[0])]
            rows.append(row)
        return rows
