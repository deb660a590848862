"""Principal components against scikit-learn's, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from uadbench.models import pca_recon
from uadbench.models.pca_recon import PCARecon
from uadbench.testing import SMALL
from uadbench.types import Batch


def batches(count: int, size: int = 5, seed: int = 0) -> tuple[torch.Tensor, list[Batch]]:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(6, SMALL.size, generator=generator)
    scans = torch.randn(count, 6, generator=generator) @ shared + 0.1 * torch.randn(
        count, SMALL.size, generator=generator
    )
    images = (scans + 3).view(-1, 1, *SMALL.shape)
    parts = [
        Batch(part, torch.zeros(len(part)), torch.zeros(len(part)), [0] * len(part)) for part in images.split(size)
    ]
    return images, parts


@pytest.mark.parametrize("components", [1, 4])
def test_reconstructions_are_scikit_learns(components: int) -> None:
    images, parts = batches(40)
    model = PCARecon(SMALL, components)
    model.fit(parts)
    flat = images.flatten(1).double().numpy()
    known = PCA(components, svd_solver="full").fit(flat)
    expected = known.inverse_transform(known.transform(flat))
    for start, part in zip(range(0, 40, 5), parts, strict=True):
        np.testing.assert_allclose(model.reconstruct(part).flatten(1), expected[start : start + 5], atol=2e-4)


@given(
    count=st.integers(2, 23), size=st.integers(1, 9), held=st.integers(1, 30), columns=st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_blocks_change_nothing(count: int, size: int, held: int, columns: int) -> None:
    images, parts = batches(count, size)
    model, centred = PCARecon(SMALL), images.flatten(1) - images.flatten(1).mean(dim=0)
    model.mean.copy_(images.flatten(1).mean(dim=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pca_recon, "HELD_VOXELS", held * SMALL.size)
        patch.setattr(pca_recon, "COLUMNS", columns)
        gram = model._gram(parts)
    np.testing.assert_allclose(gram, (centred @ centred.T).double(), rtol=1e-4, atol=0.05)
    assert torch.equal(gram, gram.T)


def test_more_components_than_scans_is_no_error() -> None:
    images, parts = batches(3)
    model = PCARecon(SMALL, 8)
    model.fit(parts)
    assert (model.directions.abs().sum(dim=1) > 0).tolist() == [True] * 2 + [False] * 6
    np.testing.assert_allclose(model.reconstruct(parts[0]).flatten(1), images.flatten(1), atol=1e-3)


def test_a_single_scan_is_its_own_mean() -> None:
    images, parts = batches(1)
    model = PCARecon(SMALL)
    model.fit(parts)
    torch.testing.assert_close(model.reconstruct(parts[0]), images)
