"""Scores of whole scans in which nothing is simulated: healthy test scans, patients and validation scans."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from uadbench.cohorts.base import STRATA
from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.inference import Observation
from uadbench.metrics import reconstruction, scan_score
from uadbench.types import VALIDATION, Scan

REVISIONS = {"reconstruction": reconstruction.REVISION, "subject": scan_score.REVISION}

SCAN_PAIRS = {"residual": ("reconstruction", "scan")}
"""(x̂, x), of a scan in which nothing is simulated."""


def scan_row(name: str, scan: Scan, seen: Observation, calibration: ModelCalibration) -> pd.DataFrame:
    """The row of one scan.

    Args:
        name: The test set, HEALTHY or PATIENTS.
        scan: Who it is, with what is known of the person.
        seen: The scan alone, N = 1.
        calibration: Makes standard maps, and holds the thresholds.

    Returns:
        Its score (`subject.score`), the share of its brain above each threshold (`exceeding`), and, where the model
        reconstructs, how alike reconstruction and scan are.
    """
    row: dict[str, object] = {"participant_id": scan.participant, "session_id": scan.session}
    row |= {"anomaly": name, "severity": 0.0, "mmse": scan.mmse}
    row |= {trait: getattr(scan, trait) for trait in STRATA}
    standard_map = calibration.standard_map(seen.anomaly_map)  # (1, V)
    row["subject.score"] = float(scan_score.top_mean(standard_map, calibration.top)[0])
    for rate, threshold in calibration.thresholds.items():
        row[f"exceeding.fpr{rate:g}"] = float((standard_map > threshold.value).double().mean())
    if seen.reconstruction is not None:
        images = {"scan": seen.images, "reconstruction": seen.reconstruction}
        brain = calibration.brain
        regions = {"whole": torch.ones_like(brain)[None], "brain": brain[None]}
        scores = reconstruction.compare(images, SCAN_PAIRS, regions)
        row |= {metric: float(values[0]) for metric, values in scores.items()}
    return pd.DataFrame([row])


def validation_rows(scans: Sequence[Scan], calibration: ModelCalibration) -> pd.DataFrame:
    """A row for each healthy validation scan: its score as a scan, with the others as calibration.

    Args:
        scans: In the order in which they calibrated.
        calibration: Holds the scores.
    """
    columns = {"participant_id": [scan.participant for scan in scans], "session_id": [s.session for s in scans]}
    scores = calibration.validation_scores.cpu().numpy()
    return pd.DataFrame({**columns, "anomaly": VALIDATION, "severity": 0.0, "subject.score": scores})
