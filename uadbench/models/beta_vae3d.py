"""The beta-VAE (`beta_vae3d`): `vae3d` with a larger weight of the KL term."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from uadbench.models.vae3d import VAE3D
from uadbench.registry import register_model
from uadbench.types import Grid


@register_model("beta_vae3d")
class BetaVAE3D(VAE3D):
    """`vae3d` with a KL term weighted by `beta`: a larger weight keeps less individual information in the code.

    Higgins et al. 2017, Equation 4. Everything else is as in `vae3d`.

    Args:
        width: Number of filters of the first convolution.
        latent: Dimension of the latent space.
        learning_rate: Learning rate of Adam.
        from_mean: Whether the output starts from the mean training scan.
        beta: Weight of the KL term.
    """

    reference = "Higgins et al. 2017, ICLR"
    recipes: ClassVar = {
        "quick": {"width": 16, "learning_rate": 3e-3, "beta": 2.0},
        "paper": {"learning_rate": 1e-5, "from_mean": False},
    }

    def __init__(
        self,
        grid: Grid,
        width: Annotated[int, Field(ge=1)] = 32,
        latent: Annotated[int, Field(ge=1)] = 128,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
        from_mean: bool = True,
        beta: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        super().__init__(grid, width, latent, learning_rate, from_mean, beta)
