"""The maximum check: does the scaling of intensities alone tell who was altered?"""

from __future__ import annotations

from torch import Tensor

from uadbench.models.base import Model
from uadbench.registry import register_model
from uadbench.types import Batch


@register_model("maxcheck")
class MaxCheck(Model):
    """Scores a scan by minus its maximum: no detector, but a test of the intensity scale.

    Its map is flat, so it localises nothing. But a scan whose maximum lies in the anomaly has a lower one than its
    healthy version; where each healthy scan is scaled to a maximum of 1 (`paper`), that alone betrays the altered
    scans. What it reaches as a detector of scans is a floor under every other model's.
    """

    def anomaly_map(self, batch: Batch) -> Tensor:
        """Minus the largest value of each scan, in every voxel."""
        return -batch.images.amax(dim=(2, 3, 4), keepdim=True).expand_as(batch.images).clone()
