"""Scores of whole scans without simulated anomalies: healthy test scans, patients and validation scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from uadbench.cohorts.base import STRATA
from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.inference import Observation
from uadbench.metrics import reconstruction, scan_score
from uadbench.types import AUDIT, VALIDATION, Scan, Values

REVISIONS = {"reconstruction": reconstruction.REVISION, "subject": scan_score.REVISION}

SCAN_PAIRS = {"residual": ("reconstruction", "scan")}
"""(x̂, x), of a scan without simulation."""

OLDEST = 90
"""Higher ages are stored as this one."""


def scan_row(name: str, scan: Scan, seen: Observation, calibration: ModelCalibration) -> pd.DataFrame:
    """Score one scan without simulation.

    Args:
        name: The test set, HEALTHY, PATIENTS or AUDIT.
        scan: The scan, with information on the person.
        seen: The model's input and output for this scan, N = 1.
        calibration: Computes standard maps, and holds the thresholds.

    Returns:
        One row with the score (`subject.score`), the fraction of the brain above each threshold (`exceeding`), and, if
        the model reconstructs, the similarity of reconstruction and scan (not for AUDIT, which needs no such score).
    """
    row: dict[str, object] = {"participant_id": scan.participant, "session_id": scan.session}
    row |= {"anomaly": name, "severity": 0.0, "mmse": scan.mmse, "age": float(stored_age(scan.age)), "sex": scan.sex}
    row |= {trait: getattr(scan, trait) for trait in (*STRATA, "group")}
    row |= detection_scores(calibration.standard_map(seen.anomaly_map), calibration)
    if name == AUDIT:
        return pd.DataFrame([row])
    if seen.reconstruction is not None:
        images = {"scan": seen.images, "reconstruction": seen.reconstruction}
        brain = calibration.brain
        regions = {"whole": torch.ones_like(brain)[None], "brain": brain[None]}
        scores = reconstruction.compare(images, SCAN_PAIRS, regions)
        row |= {metric: float(values[0]) for metric, values in scores.items()}
    return pd.DataFrame([row])


def detection_scores(standard_map: Tensor, calibration: ModelCalibration) -> dict[str, float]:
    """The score of one scan, and the share of its brain above each threshold, from its standard map (1, V)."""
    scores = {"subject.score": float(scan_score.top_mean(standard_map, calibration.top)[0])}
    for rate, threshold in calibration.thresholds.items():
        scores[f"exceeding.fpr{rate:g}"] = float((standard_map > threshold.value).double().mean())
    return scores


def stored_age(age: npt.ArrayLike) -> Values:
    """Ages in whole years, at most OLDEST, so that they identify nobody; NaN where unknown."""
    return np.minimum(np.floor(np.asarray(age, dtype=np.float64)), OLDEST)


def validation_rows(scans: Sequence[Scan], calibration: ModelCalibration) -> pd.DataFrame:
    """One row per healthy validation scan: its score, calibrated on the other validation scans.

    Args:
        scans: The scans, in the order of the calibration.
        calibration: Holds the scores.
    """
    columns = {"participant_id": [scan.participant for scan in scans], "session_id": [s.session for s in scans]}
    scores = calibration.validation_scores.cpu().numpy()
    return pd.DataFrame({**columns, "anomaly": VALIDATION, "severity": 0.0, "subject.score": scores})
