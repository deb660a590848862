"""Diffusion to partial depth: noise is added to a scan, less than would hide it, and a network removes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

STEPS = 1000
"""Of the whole noise schedule (Ho et al. 2020)."""

Prediction = Literal["epsilon", "sample"]
"""What the network says of a noised input: its noise, or the input without."""


class PartialDiffusion:
    """The forward process and its deterministic reverse (DDIM, Song et al. 2021), with MONAI's scheduler.

    Args:
        depth: To which of the 1000 steps noise is added.
        passes: Of the network on the way back.
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
        """Mean squared error of what the network says of `clean` with noise on, at a depth drawn for each scan.

        Only depths that the way back passes through are drawn.
        """
        times = torch.randint(1, self.depth + 1, (len(clean),), device=clean.device)
        said = network(self.scheduler.add_noise(clean, noise, times), times).float()
        error: Tensor = (said - (noise if self.prediction == "epsilon" else clean)).square().mean()
        return error

    def restore(self, network: Callable[[Tensor, Tensor], Tensor], clean: Tensor, noise: Tensor) -> Tensor:
        """Add noise to full depth, then remove it in equal strides; the last estimate of the input without noise."""
        stride = STEPS // self.scheduler.num_inference_steps
        times = [max(1, self.depth - index * stride) for index in range(self.passes)]
        now = torch.full((len(clean),), times[0], device=clean.device)
        noised, estimate = self.scheduler.add_noise(clean, noise, now), clean
        for time in times:
            said = network(noised, torch.full((len(clean),), time, device=clean.device)).float()
            noised, estimate = self.scheduler.step(said, time, noised)
        return estimate


def denoiser(channels: int, width: int, levels: int) -> nn.Module:
    """MONAI's diffusion U-Net in 3D, one residual block a level, with attention in the middle alone."""
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
