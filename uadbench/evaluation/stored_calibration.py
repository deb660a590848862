"""The calibration of a run on disk, so that its model can be applied to a scan where the cohort is not at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from uadbench.errors import InputError
from uadbench.evaluation.calibration import REVISIONS, ModelCalibration
from uadbench.metrics import postprocessing
from uadbench.metrics.scan_score import Threshold
from uadbench.models.checkpoint import LARGEST_HEADER, read_tensors, write_tensors
from uadbench.protocols.schema import Protocol
from uadbench.results.schema import Result
from uadbench.space.atlas import brain_mask

CALIBRATION = "calibration.safetensors"
"""In a run folder: mean and SD of smoothed maps of healthy validation scans, their scores, the images' variance."""
MOST_SCANS = 100_000
SEAL = "seal"
"""The SHA-256 of the other tensors, (32,) uint8."""


def write_calibration(calibration: ModelCalibration, folder: Path) -> None:
    """Write the calibration into a run folder, atomically."""
    tensors = {
        "mean": calibration.normal_maps.mean,
        "sd": calibration.normal_maps.sd,
        "variance": calibration.variance,
        "validation_scores": calibration.validation_scores,
    }
    write_tensors(folder / CALIBRATION, {**tensors, SEAL: _seal(tensors)})


def read_calibration(folder: Path, result: Result, protocol: Protocol) -> ModelCalibration:
    """Read the calibration of a run folder, on the CPU.

    Args:
        folder: The run folder.
        result: Its result, which holds the thresholds.
        protocol: Its protocol.

    Raises:
        InputError: If the run folder contains no calibration (runs of earlier versions), or one for another grid or for
            another revision of the post-processing.
    """
    file = folder / CALIBRATION
    if {name: result.provenance.revisions.get(name) for name in REVISIONS} != REVISIONS:
        raise InputError(f"{folder}: the post-processing has changed since this run; repeat the run")
    brain = torch.from_numpy(brain_mask(protocol.lattice))
    voxels = int(brain.sum())
    try:
        tensors = read_tensors(file, LARGEST_HEADER + 8 * (3 * voxels + MOST_SCANS))
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no {CALIBRATION}; it is of an earlier version, repeat the run") from None
    seal = tensors.pop(SEAL, None)
    if seal is None or not torch.equal(seal, _seal(tensors)):
        raise InputError(f"{file}: is corrupted; repeat the run")
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    scores = tensors.get("validation_scores", torch.empty(0))
    expected = {"mean": (voxels,), "sd": (voxels,), "variance": (voxels,), "validation_scores": (len(scores),)}
    if shapes != expected or not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise InputError(f"{file}: is not the calibration of a run under {protocol.name}; repeat the run")
    thresholds = {
        each.false_positive_rate: Threshold(each.value, each.low, each.high)
        for each in result.detection.voxel_thresholds
    }
    return ModelCalibration(
        smooth=postprocessing.BrainSmoothing(brain, protocol.standard_map.fwhm_mm, protocol.grid.voxel_mm),
        normal_maps=postprocessing.Calibration(tensors["mean"].float(), tensors["sd"].float()),
        thresholds=thresholds,
        top=protocol.detection.top,
        validation_scores=scores.double(),
        variance=tensors["variance"].double(),
    )


def _seal(tensors: Mapping[str, Tensor]) -> Tensor:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
