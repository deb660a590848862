"""Planes: what is cut lies where it should, and what is lifted too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from uadbench.models.layers.slices import Plane
from uadbench.protocols.schema import load_protocol
from uadbench.space.atlas import brain_mask
from uadbench.types import Grid

QUICK = load_protocol("quick").lattice
GRIDS = [QUICK, load_protocol("smoke").lattice, Grid((16, 16, 16), 10.0, (-76.0, -91.0, -66.0))]


def plane(grid: Grid, axis: int) -> Plane:
    return Plane(grid, axis, spacing_mm=12.0, pixel_mm=4.0, stride=4, coarsest=8)


def patches(of: Plane, slices: Tensor) -> Tensor:
    """The pixels on which the kept patches are centred, (N, P)."""
    return slices[:, :, ::4, ::4].flatten(1)[:, of.kept]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_constant_score_fills_the_brain(grid: Grid, axis: int) -> None:
    cut = plane(grid, axis)
    found = cut.lift(torch.ones(2, len(cut.kept)))
    assert found.shape == (2, 1, *grid.shape)
    assert (found[:, 0, torch.from_numpy(brain_mask(grid))] - 1).abs().max() < 1e-5


@pytest.mark.parametrize("axis", range(3))
def test_a_patch_is_lifted_to_where_it_was_cut(axis: int) -> None:
    ramps = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in QUICK.shape], indexing="ij"))[:, None]
    cut = plane(QUICK, axis)
    slices = cut.cut(ramps)
    assert all((size - 1) % 8 == 0 for size in slices.shape[2:])
    assert cut.shape == (slices.shape[1], *slices[0, 0, ::4, ::4].shape)
    found = cut.lift(patches(cut, slices))
    middle = np.zeros(QUICK.shape, bool)
    middle[8:-8, 9:-9, 8:-8] = True  # outside, the outermost slice goes on as it is
    inside = torch.from_numpy(middle & brain_mask(QUICK))
    np.testing.assert_allclose(found[:, 0, inside], ramps[:, 0, inside], atol=1e-3)


def test_slices_go_through_their_own_axis() -> None:
    image = torch.zeros(1, 1, *QUICK.shape)
    image[0, 0, 12] = 1  # a sagittal sheet
    per_slice = [plane(QUICK, axis).cut(image).amax(dim=(2, 3))[0] for axis in range(3)]
    assert 1 <= int((per_slice[0] > 0).sum()) <= 2
    assert all((found > 0).all() for found in per_slice[1:])
