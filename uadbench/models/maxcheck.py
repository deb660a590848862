"""The maximum of a scan as its score (`maxcheck`), a check that the intensity scale does not reveal anomalies."""

from __future__ import annotations

from torch import Tensor

from uadbench.models.base import Model
from uadbench.registry import register_model
from uadbench.types import Batch


@register_model("maxcheck")
class MaxCheck(Model):
    """Scores a scan by minus its maximum: a check of the intensity normalisation, not a detector.

    Its map is flat, so it localises nothing. If an anomaly contains the maximum of a scan, the altered scan has a lower
    maximum than the healthy one. Where every healthy scan is scaled to a maximum of 1 (protocol `paper`), this alone
    reveals altered scans. A useful model detects scans better than this one.
    """

    family = "baseline"

    def anomaly_map(self, batch: Batch) -> Tensor:
        """Minus the maximum of each scan, in every voxel, (N, 1, X, Y, Z)."""
        return -batch.images.amax(dim=(2, 3, 4), keepdim=True).expand_as(batch.images).clone()
