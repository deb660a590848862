"""The identity: reconstructs its input."""

from __future__ import annotations

from torch import Tensor

from uadbench.models.base import ReconstructionModel
from uadbench.registry import register_model
from uadbench.types import Batch


@register_model("identity")
class Identity(ReconstructionModel):
    """Reconstructs its input: the best similarity there is, and detects nothing.

    The floor of every table: its average precision is the prevalence.
    """

    def reconstruct(self, batch: Batch) -> Tensor:
        """The images themselves."""
        return batch.images.clone()
