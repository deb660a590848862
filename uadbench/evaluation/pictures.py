"""Volumes for the pictures of a report: of a simulated case, or of a scan without simulation. Nothing is scored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.inference import observe
from uadbench.types import Case, Scan, Volume


def case_volumes(evaluator: Evaluator, case: Case) -> dict[str, Volume]:
    """Volumes of a case and its healthy scan, with the model's outputs for both and the true reduction.

    Args:
        evaluator: The calibrated model.
        case: Any case of the test sets.

    Returns:
        Name -> (X, Y, Z) float32: images and reconstructions in normalised units; `reduction` as a fraction of the
        uptake; `truth`, 1 in positive voxels and 0 elsewhere; `native_map` in the model's unit; standard maps in SD of
        healthy scans. Maps are 0 outside the brain. `from_healthy` and `from_altered` are present if the model
        reconstructs.
    """
    healthy = observe(evaluator.model, evaluator.batch([case.scan.data], case.scan))
    altered = observe(evaluator.model, evaluator.batch([case.altered], case.scan))
    shown = {
        "healthy": healthy.images[0],
        "altered": altered.images[0],
        "reduction": torch.from_numpy(case.reduction),
        "truth": torch.from_numpy(case.truth == 1),
        "native_map": altered.anomaly_map[0] * evaluator.calibration.brain,
        "standard_map": _standard_volume(evaluator, altered.anomaly_map),
        "healthy_standard_map": _standard_volume(evaluator, healthy.anomaly_map),
    }
    if healthy.reconstruction is not None and altered.reconstruction is not None:
        shown["from_healthy"] = healthy.reconstruction[0]
        shown["from_altered"] = altered.reconstruction[0]
    return _arrays(shown)


def scan_volumes(evaluator: Evaluator, scan: Scan) -> dict[str, Volume]:
    """Volumes of a scan without simulation, such as a patient's, with the model's outputs.

    Args:
        evaluator: The calibrated model.
        scan: The scan, on the grid of the protocol.

    Returns:
        Name -> (X, Y, Z) float32, in the units of `case_volumes`: `scan`, `standard_map` and, if the model
        reconstructs, `reconstruction`.
    """
    seen = observe(evaluator.model, evaluator.batch([scan.data], scan))
    shown = {"scan": seen.images[0], "standard_map": _standard_volume(evaluator, seen.anomaly_map)}
    if seen.reconstruction is not None:
        shown["reconstruction"] = seen.reconstruction[0]
    return _arrays(shown)


def _standard_volume(evaluator: Evaluator, native: Tensor) -> Tensor:
    """The standard map of one native map (1, X, Y, Z) as a volume (X, Y, Z)."""
    calibration = evaluator.calibration
    return calibration.as_volumes(calibration.standard_map(native))[0]


def _arrays(shown: dict[str, Tensor]) -> dict[str, Volume]:
    return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}
