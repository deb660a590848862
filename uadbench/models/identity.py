"""The input as its own reconstruction (`identity`), a baseline."""

from __future__ import annotations

from torch import Tensor

from uadbench.models.base import ReconstructionModel
from uadbench.registry import register_model
from uadbench.types import Batch


@register_model("identity")
class Identity(ReconstructionModel):
    """Returns its input unchanged: the highest possible similarity, and no detection.

    Its average precision equals the prevalence, which is chance level.
    """

    family = "baseline"

    def reconstruct(self, batch: Batch) -> Tensor:
        """The images, unchanged."""
        return batch.images.clone()
