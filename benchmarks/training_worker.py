"""One process that trains vae3d step by step as its parent asks: `fast` as uadbench does, `plain` as torch does.

A process of its own, because what the allocator does with freed memory is a matter of the whole process.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor, nn

from uadbench.models.layers.depth_to_space import DoublingConvTranspose3d
from uadbench.models.precision import available, computing_in, lay_out
from uadbench.models.vae3d import VAE3D
from uadbench.runtime.memory import keep_freed_memory
from uadbench.types import Batch, Grid

CPU = torch.device("cpu")


def scans(grid: Grid, count: int) -> Tensor:
    """Blurred noise under an ellipsoid, 0..1, like brains enough for a loss to fall."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, *[n // 8 for n in grid.shape], generator=generator)
    smooth = nn.functional.interpolate(coarse, size=grid.shape, mode="trilinear")
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
    return smooth * (sum(axis**2 for axis in axes) < 0.8)


def main(kind: str, *numbers: str) -> None:
    """Answer each line of stdin with the seconds of a step and its loss."""
    x, y, z, batch_size = map(int, numbers)
    grid = Grid((x, y, z), 1.0, (0.0, 0.0, 0.0))
    torch.manual_seed(0)
    model = VAE3D(grid, from_mean=False, learning_rate=1e-5).train()
    precision = available("bf16", CPU)
    if kind == "fast":
        keep_freed_memory()
        lay_out(model)
        optimiser = model.optimisers()["vae"]
    else:
        precision = "float32"
        DoublingConvTranspose3d.forward = nn.ConvTranspose3d.forward  # type: ignore[method-assign]
        optimiser = torch.optim.Adam(model.parameters(), lr=model.learning_rate)
    images = scans(grid, batch_size)
    for step, _ in enumerate(sys.stdin):
        batch = Batch(images, torch.zeros(batch_size), torch.zeros(batch_size), range(step, step + batch_size))
        started = time.perf_counter()
        with computing_in(precision, CPU):
            ((_, loss),) = model.losses(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        print(time.perf_counter() - started, float(loss.detach()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
