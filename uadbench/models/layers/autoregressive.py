"""Inverse autoregressive flow, which gives a VAE a more flexible posterior than a diagonal Gaussian."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GATE = 2.0
"""Initial bias of the gates: at first, each step passes on most of its input (Kingma et al. 2016, appendix)."""


class MaskedLinear(nn.Linear):
    """A linear layer with some weights fixed at 0 (Germain et al. 2015, MADE)."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        return F.linear(input, self.weight * self.mask, self.bias)


class InverseAutoregressiveStep(nn.Module):
    """One step of the flow: z_i becomes g_i z_i + (1 - g_i) m_i.

    The gate g_i and the shift m_i depend on z_1 .. z_(i-1) and a context.

    Kingma et al. 2016, Equation 14 (the numerically stable form of Algorithm 1); one hidden layer.
    """

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        place = torch.arange(latent)
        degree = torch.arange(hidden) % max(1, latent - 1)
        self.first = MaskedLinear(degree[:, None] >= place[None])
        self.context = nn.Linear(latent, hidden, bias=False)
        self.second = MaskedLinear((place[:, None] > degree[None]).repeat(2, 1))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The next z (N, latent) and the log-determinant of the step, (N,)."""
        shift, gate = self.second(F.elu(self.first(z) + self.context(context))).float().chunk(2, dim=1)
        gate = gate + GATE
        kept = torch.sigmoid(gate)
        return kept * z + (1 - kept) * shift, F.logsigmoid(gate).sum(dim=1)


class InverseAutoregressiveFlow(nn.Module):
    """Several steps, with the order of the latents reversed after each."""

    def __init__(self, latent: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(InverseAutoregressiveStep(latent, hidden) for _ in range(steps))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The last z (N, latent) and the log-determinant of all steps, (N,)."""
        total = z.new_zeros(len(z))
        for step in self.steps:
            z, determinant = step(z, context)
            z, total = z.flip(1), total + determinant
        return z, total
