"""Calibration of a model on healthy validation scans: the standard map, thresholds and normal variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uadbench.cohorts.batches import Batches
from uadbench.evaluation.inference import observe
from uadbench.metrics import postprocessing, scan_score
from uadbench.models.base import Model
from uadbench.protocols.schema import Protocol
from uadbench.types import Truth

REVISIONS = {"standard": postprocessing.REVISION, "subject": scan_score.REVISION}


@dataclass(frozen=True)
class ModelCalibration:
    """The calibration of one model on healthy validation scans; V is the number of voxels of the brain.

    Attributes:
        smooth: Smooths native maps within the brain, and extracts the brain's voxels from a volume.
        normal_maps: Mean and floored SD of smoothed maps, (V,) float32 each.
        thresholds: False positive rate of voxels -> the threshold of the standard map.
        top: Fraction of the brain's voxels, those with the highest values of a standard map, whose mean is a scan's
            score.
        validation_scores: (S,) float64, the score of each validation scan, calibrated on the others.
        variance: (V,) float64, voxelwise variance of the images between validation scans, normalised units squared.
    """

    smooth: postprocessing.BrainSmoothing
    normal_maps: postprocessing.Calibration
    thresholds: Mapping[float, scan_score.Threshold]
    top: float
    validation_scores: Tensor
    variance: Tensor

    @property
    def brain(self) -> Tensor:
        """The brain mask, (X, Y, Z) bool, on the device of the model."""
        return self.smooth.brain

    def standard_map(self, native: Tensor) -> Tensor:
        """Post-process native maps (N, X, Y, Z) to standard maps (N, V) float32, in the same way for all models."""
        return postprocessing.standardise(self.smooth(native), self.normal_maps)

    def in_brain(self, volumes: Tensor) -> Tensor:
        """Extract the brain's voxels, (N, V), from volumes (N, X, Y, Z) or (X, Y, Z)."""
        return self.smooth.voxels(volumes)

    def arrays_in_brain(self, volumes: Sequence[npt.NDArray[np.generic]]) -> Tensor:
        """Extract the brain's voxels, (N, V), from N NumPy volumes (X, Y, Z), on the device of the model."""
        return torch.cat([self.in_brain(torch.from_numpy(volume).to(self.brain.device)) for volume in volumes])

    def truth_in_brain(self, truth: Truth) -> Tensor:
        """The ground truth in the brain's voxels, (V,) int8."""
        return self.arrays_in_brain([truth])[0]

    def as_volumes(self, values: Tensor) -> Tensor:
        """Turn values of the brain's voxels, (N, V), into volumes (N, X, Y, Z) that are 0 elsewhere."""
        return self.smooth.volumes(values)


def calibrate_model(model: Model, validation: Batches, brain: Tensor, protocol: Protocol) -> ModelCalibration:
    """Calibrate a model on healthy validation scans.

    Args:
        model: The model, in eval mode, on the device of the brain mask.
        validation: The healthy validation scans, S of them, at least three.
        brain: The brain mask, (X, Y, Z) bool.
        protocol: Defines the smoothing (FWHM in mm), the floor of the SD, the false positive rates and `top`.

    Returns:
        The calibration, on the device of the brain mask.

    Raises:
        Unfinished: If an output of the model has a different shape from the images or is not finite.
    """
    section, detection = protocol.standard_map, protocol.detection
    smooth = postprocessing.BrainSmoothing(brain, section.fwhm_mm, protocol.grid.voxel_mm)
    smoothed = torch.cat([smooth(observe(model, batch).anomaly_map) for batch in validation])  # (S, V)
    held_out = postprocessing.held_out(smoothed, section.sd_floor)  # each scan standardised by the others
    return ModelCalibration(
        smooth=smooth,
        normal_maps=postprocessing.calibrate([smoothed], section.sd_floor),
        thresholds={rate: scan_score.voxel_threshold(held_out, rate) for rate in detection.false_positive_rates},
        top=detection.top,
        validation_scores=scan_score.top_mean(held_out, detection.top),
        variance=postprocessing.voxel_variance(smooth.voxels(batch.images) for batch in validation),
    )
