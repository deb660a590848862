"""The Wiener filter against closed forms in NumPy, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from uadbench.models.wiener import LENGTHS_MM, SHRINKAGES, CoarseBrain, Wiener, most_likely
from uadbench.protocols.schema import load_protocol
from uadbench.testing import SMALL, example_batches, fitted
from uadbench.testing.examples import unseen_batch
from uadbench.types import Batch, Grid


def test_the_map_is_the_posterior_mean_of_the_reduction() -> None:
    batches = list(example_batches(12))
    model = Wiener(SMALL)
    model.fit(batches)
    coarse, batch = model.coarse, unseen_batch(3)
    scans = np.concatenate([coarse.down(b.images[:, 0]).numpy() for b in batches]).astype(np.float64)
    centres = 10.0 * np.argwhere(coarse.kept.numpy())
    distances, sd = cdist(centres, centres), scans.std(axis=0, ddof=1)
    weight, length = most_likely(*map(torch.from_numpy, (scans, sd, distances)))
    assert 0 < sd.min() > 0.1 * np.median(sd)  # the floor of the SD is not reached
    healthy = (1 - weight) * np.cov(scans.T) + weight * np.outer(sd, sd) * np.exp(-distances / length)
    prior, uptake = 0.15**2 * np.exp(-distances / 25), np.diag(scans.mean(axis=0))
    off = scans.mean(axis=0) - coarse.down(batch.images[:, 0]).numpy()
    expected = prior @ uptake @ np.linalg.solve(uptake @ prior @ uptake + healthy, off.T)
    actual = model.anomaly_map(batch)
    np.testing.assert_allclose(coarse.down(actual[:, 0]), expected.T, atol=1e-4)  # coarse voxels are voxels here
    torch.testing.assert_close(model.reconstruct(batch), batch.images + model.mean * actual)


@given(st.integers(4, 30), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_chosen_shrinkage_has_the_highest_likelihood(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 60, (12, 3))
    scans = rng.standard_normal((count, 3)) @ rng.standard_normal((3, 12)) + rng.standard_normal((count, 12))
    distances, sd = cdist(centres, centres), scans.std(axis=0)
    held = np.arange(count) % 4 == 3
    train = scans[~held]

    def likelihood(weight: float, length: float) -> float:
        target = np.outer(sd, sd) * np.exp(-distances / length)
        covariance = (1 - weight) * np.cov(train.T) + weight * target
        return float(multivariate_normal(train.mean(axis=0), covariance).logpdf(scans[held]).sum())

    chosen = most_likely(*map(torch.from_numpy, (scans, sd, distances)))
    best = max(likelihood(weight, length) for weight in SHRINKAGES for length in LENGTHS_MM)
    assert likelihood(*chosen) == pytest.approx(best)


@pytest.mark.parametrize("name", ["smoke", "quick", "paper"])
def test_a_constant_and_a_ramp_survive_the_coarse_voxels(name: str) -> None:
    grid = load_protocol(name).lattice
    coarse = CoarseBrain(grid, 8.0)
    flat = coarse.up(coarse.down(torch.full((1, *grid.shape), 0.3)))[0]
    reached = flat > 0
    assert not reached[~coarse.brain].any() and reached.sum() > 0.999 * coarse.brain.sum()
    torch.testing.assert_close(flat[reached], torch.full_like(flat[reached], 0.3))
    ramp = grid.voxel_mm * torch.arange(grid.shape[0], dtype=torch.float32)[:, None, None].expand(grid.shape)
    off = (coarse.up(coarse.down(ramp[None]))[0] - ramp)[reached]
    assert float(off.abs().median()) < 1.5 and float(off.abs().max()) < 8.0  # mm, of 160


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_scans_give_a_finite_filter(count: int) -> None:
    model = Wiener(SMALL)
    model.fit(example_batches(count))
    assert model.filter.isfinite().all()
    assert model.anomaly_map(unseen_batch(1)).isfinite().all()


def test_a_smooth_lesion_is_found_and_its_size_estimated() -> None:
    model, batch = fitted(Wiener), unseen_batch(1)
    lesion = torch.zeros(SMALL.shape)
    lesion[4:8, 6:10, 8:12] = 0.4
    altered = Batch(batch.images * (1 - lesion), batch.age, batch.sex, batch.seeds)
    change = (model.anomaly_map(altered) - model.anomaly_map(batch))[0, 0]
    inside = (lesion > 0) & model.coarse.brain
    assert 0.2 < float(change[inside].mean()) < 0.5
    assert abs(float(change[~inside].mean())) < 0.05


def test_the_coarse_voxels_are_not_finer_than_the_grid() -> None:
    grid = Grid((8, 8, 8), 20.0, (-76.0, -91.0, -66.0))
    assert Wiener(grid).coarse.kept.shape == (8, 8, 8)
