"""What healthy validation scans fix before a test scan is seen: the standard map, thresholds, normal variance."""

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
    """What the healthy validation scans say of one model; V is the number of voxels of the brain.

    Attributes:
        smooth: The smoothing of native maps within the brain, which also takes the brain's voxels out of a volume.
        normal_maps: Mean and floored SD of smoothed maps, (V,) float32 each.
        thresholds: False positive rate of voxels -> the threshold of the standard map.
        top: The share of voxels, the highest of a standard map, whose mean is the score of a scan.
        validation_scores: (S,) float64, the score of each validation scan, with the others as calibration.
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
        """The post-processing of all models: native maps (N, X, Y, Z) to standard maps (N, V), float32."""
        return postprocessing.standardise(self.smooth(native), self.normal_maps)

    def in_brain(self, volumes: Tensor) -> Tensor:
        """The brain's voxels, (N, V), of volumes (N, X, Y, Z) or (X, Y, Z)."""
        return self.smooth.voxels(volumes)

    def arrays_in_brain(self, volumes: Sequence[npt.NDArray[np.generic]]) -> Tensor:
        """The brain's voxels, (N, V), of N NumPy volumes (X, Y, Z), on the device of the model."""
        return torch.cat([self.in_brain(torch.from_numpy(volume).to(self.brain.device)) for volume in volumes])

    def truth_in_brain(self, truth: Truth) -> Tensor:
        """The truth in the brain's voxels, (V,) int8."""
        return self.arrays_in_brain([truth])[0]

    def as_volumes(self, values: Tensor) -> Tensor:
        """Values of the brain's voxels, (N, V), as volumes (N, X, Y, Z) that are 0 outside."""
        return self.smooth.volumes(values)


def calibrate_model(model: Model, validation: Batches, brain: Tensor, protocol: Protocol) -> ModelCalibration:
    """Run a model over healthy validation scans and measure what is normal for it.

    Args:
        model: In eval mode, on the device of the brain mask.
        validation: The healthy validation scans, S of them, at least three.
        brain: (X, Y, Z) bool.
        protocol: Fixes the smoothing (FWHM in mm), the floor of the SD, the false positive rates and `top`.

    Returns:
        The calibration, on the device of the brain mask.

    Raises:
        Unfinished: If an answer of the model has another shape than the images or is not finite.
    """
    section, detection = protocol.standard_map, protocol.detection
    smooth = postprocessing.BrainSmoothing(brain, section.fwhm_mm, protocol.grid.voxel_mm)
    smoothed = torch.cat([smooth(observe(model, batch).anomaly_map) for batch in validation])  # (S, V)
    held_out = postprocessing.held_out(smoothed, section.sd_floor)  # each scan standardised with the others
    return ModelCalibration(
        smooth=smooth,
        normal_maps=postprocessing.calibrate([smoothed], section.sd_floor),
        thresholds={rate: scan_score.voxel_threshold(held_out, rate) for rate in detection.false_positive_rates},
        top=detection.top,
        validation_scores=scan_score.top_mean(held_out, detection.top),
        variance=postprocessing.voxel_variance(smooth.voxels(batch.images) for batch in validation),
    )
