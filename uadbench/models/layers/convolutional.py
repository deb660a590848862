"""The encoder and decoder of the paper's autoencoders: three strided convolutions and one dense layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from uadbench.errors import InputError
from uadbench.models.base import mean_image
from uadbench.models.layers.depth_to_space import DoublingConvTranspose3d
from uadbench.types import Batch, Grid

STRIDES = 3
SLOPE = 0.2


def encoder(grid: Grid, width: int) -> nn.Sequential:
    """Three 3D convolutions (stride 2; `width`, 2 `width`, 4 `width` filters), each with batch norm and leaky ReLU.

    Maps (N, 1, X, Y, Z) to (N, features); each model adds its own dense layer.

    Raises:
        InputError: If the grid cannot be halved three times.
    """
    coarse(grid)
    layers: list[nn.Module] = []
    for incoming, filters in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
        convolution = nn.Conv3d(incoming, filters, kernel_size=3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm3d(filters), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Flatten())


class Decoder(nn.Module):
    """The encoder mirrored: one dense layer, three transposed convolutions, a sigmoid.

    `offset` is a fixed volume that is added before the sigmoid. With offset 0 this is the plain network; with
    the logit of the mean training scan, training starts from that scan instead of a uniform grey, which saves
    the time to learn the black background.
    """

    offset: Tensor

    def __init__(self, grid: Grid, width: int, latent: int) -> None:
        super().__init__()
        shape = coarse(grid)
        self.dense = nn.Linear(latent, 4 * width * shape[0] * shape[1] * shape[2])
        self.unflatten = nn.Unflatten(1, (4 * width, *shape))
        layers: list[nn.Module] = []
        for incoming, filters in ((4 * width, 2 * width), (2 * width, width)):
            convolution = nn.ConvTranspose3d(
                incoming, filters, kernel_size=3, stride=2, padding=1, output_padding=1, bias=False
            )
            layers += [convolution, nn.BatchNorm3d(filters), nn.LeakyReLU(SLOPE)]
        self.convolutions = nn.Sequential(*layers, DoublingConvTranspose3d(width, 1))
        self.register_buffer("offset", torch.zeros(grid.shape))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) to (N, 1, X, Y, Z) in 0..1."""
        return torch.sigmoid(self.convolutions(self.unflatten(self.dense(z))) + self.offset)

    def start_from_mean(self, batches: Iterable[Batch]) -> None:
        """Set the offset to the logit of the mean training scan."""
        self.offset.copy_(torch.logit(mean_image(batches).clamp(1e-3, 1 - 1e-3)))


def coarse(grid: Grid) -> tuple[int, int, int]:
    """The grid's shape after three halvings.

    Raises:
        InputError: If the grid cannot be halved three times.
    """
    factor = 2**STRIDES
    if any(n % factor for n in grid.shape):
        raise InputError(f"the grid {grid} cannot be halved {STRIDES} times; use sizes divisible by {factor}")
    x, y, z = grid.shape
    return x // factor, y // factor, z // factor


def features(grid: Grid, width: int) -> int:
    """Number of outputs of the encoder."""
    x, y, z = coarse(grid)
    return 4 * width * x * y * z
