"""Closed forms against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from uadbench.models.pca_recon import PCARecon
from uadbench.types import Batch, Grid

GRID = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))


@pytest.mark.parametrize("components", [32])
def test_pca(components: int, versus) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((components, GRID.size), dtype=np.float32)
    weights = rng.standard_normal((500, components), dtype=np.float32) * np.geomspace(5, 0.5, components)
    scans = weights.astype(np.float32) @ directions
    scans += rng.standard_normal(scans.shape, dtype=np.float32)
    images = torch.from_numpy(scans).view(-1, 1, *GRID.shape)
    batches = [
        Batch(part, torch.zeros(len(part)), torch.zeros(len(part)), [0] * len(part)) for part in images.split(24)
    ]
    model = PCARecon(GRID, components)
    known: list[PCA] = []

    def baseline() -> None:
        known[:] = [PCA(components, svd_solver="randomized", random_state=0).fit(scans)]

    work = f"PCA of 500 x 614,400, {components} components"
    versus(work, "scikit-learn, randomized", 5, lambda: model.fit(batches), baseline, rounds=1)
    alike = abs((model.directions.numpy() * known[0].components_).sum(axis=1))
    assert alike.min() > 0.999
