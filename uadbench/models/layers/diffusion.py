"""Diffusion to partial depth: some noise is added to a scan or code, and a network removes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

STEPS = 1000
"""Number of steps of the whole noise schedule (Ho et al. 2020)."""

Prediction = Literal["epsilon", "sample"]
"""What the network predicts from a noisy input: the noise ("epsilon") or the input without noise ("sample")."""


class PartialDiffusion:
    """The forward process and its deterministic reverse (DDIM, Song et al. 2021), with MONAI's scheduler.

    Args:
        depth: Step of the schedule, of 1000, up to which noise is added.
        passes: Number of passes of the network that remove the noise.
        prediction: What the network predicts.
    """

    def __init__(self, depth: int, passes: int, prediction: Prediction) -> None:
        from monai.networks.schedulers.ddim import DDIMScheduler

        self.depth = depth
        self.passes = min(passes, depth)
        self.prediction = prediction
        self.scheduler: Any = DDIMScheduler(STEPS, clip_sample=False, prediction_type=prediction)
        self.scheduler.set_timesteps(STEPS * self.passes // depth)

    def loss(self, network: nn.Module, clean: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of the prediction for `clean` with noise added, at a random depth for each scan, ().

        Depths are drawn from 1 to `depth`, since larger ones do not occur at inference.
        """
        times = torch.randint(1, self.depth + 1, (len(clean),), device=clean.device)
        said = network(self.scheduler.add_noise(clean, noise, times), times).float()
        error: Tensor = (said - (noise if self.prediction == "epsilon" else clean)).square().mean()
        return error

    def restore(self, network: Callable[[Tensor, Tensor], Tensor], clean: Tensor, noise: Tensor) -> Tensor:
        """Add noise up to `depth`, remove it in equal steps, and return the last estimate without noise."""
        stride = STEPS // self.scheduler.num_inference_steps
        times = [max(1, self.depth - index * stride) for index in range(self.passes)]
        now = torch.full((len(clean),), times[0], device=clean.device)
        noised, estimate = self.scheduler.add_noise(clean, noise, now), clean
        for time in times:
            said = network(noised, torch.full((len(clean),), time, device=clean.device)).float()
            noised, estimate = self.scheduler.step(said, time, noised)
        return estimate


def denoiser(channels: int, width: int, levels: int) -> nn.Module:
    """MONAI's diffusion U-Net in 3D, with one residual block per level and attention only in the middle."""
    from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=channels,
        num_res_blocks=1,
        channels=[width * 2**level for level in range(levels)],
        attention_levels=[False] * levels,
        norm_num_groups=min(8, width),
        num_head_channels=width,
    )
    return network
