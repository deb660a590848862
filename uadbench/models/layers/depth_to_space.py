"""A transposed convolution that doubles the size, computed at the lower resolution, equal to torch's layer.

Which of the two is faster depends on the processor, the threads and the batch size. It is kept because weights trained
with torch's layer would differ in rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = [1, 3, 2, 0]
"""Kernel tap for (corner, neighbour), where 3 is zero: output 2i is w1 x_i, output 2i+1 is w2 x_i + w0 x_(i+1)."""


class DoublingConvTranspose3d(nn.ConvTranspose3d):
    """ConvTranspose3d with kernel 3, stride 2, padding 1, output padding 1: doubles the size.

    It is computed as a convolution with kernel 2 that gives the 8 corners of every 2 x 2 x 2 block as
    channels. Convolution libraries are slow with one channel at full resolution, and fast with eight at
    half of it. The parameters are those of the plain layer.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__(channels, filters, kernel_size=3, stride=2, padding=1, output_padding=1)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, C, X, Y, Z) to (N, filters, 2X, 2Y, 2Z)."""
        n, c, x, y, z = features.shape
        weight = self.weight
        for axis in (2, 3, 4):
            none = torch.zeros_like(weight.narrow(axis, 0, 1))
            weight = torch.cat([weight, none], axis)[(slice(None),) * axis + (TAPS,)]
        weight = weight.reshape(c, -1, 2, 2, 2, 2, 2, 2)  # corner, neighbour along x, y, z
        weight = weight.permute(1, 2, 4, 6, 0, 3, 5, 7).reshape(-1, c, 2, 2, 2)  # (filters * 8, C, 2, 2, 2)
        out = F.conv3d(F.pad(features, (0, 1, 0, 1, 0, 1)), weight)
        out = out.reshape(n, -1, 2, 2, 2, x, y, z).permute(0, 1, 5, 2, 6, 3, 7, 4)
        out = out.reshape(n, -1, 2 * x, 2 * y, 2 * z)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1, 1)
