"""Recovery, damage, healthiness and identity: against plain loops, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from uadbench.metrics import localisation, restoration, standard

SHAPE = (5, 6, 4)


def draw(seed: int):
    rng = np.random.default_rng(seed)
    healthy = rng.uniform(0.5, 1.5, (1, *SHAPE))
    truth = rng.random(SHAPE) < 0.3
    reduction = 0.3 * truth * rng.uniform(0.5, 1, SHAPE)
    altered = np.repeat(healthy * (1 - reduction), 3, axis=0)
    restored = altered + rng.normal(0, 0.1, altered.shape)
    return (torch.from_numpy(a) for a in (healthy, altered, restored, truth, ~truth & (rng.random(SHAPE) < 0.8)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_each_is_what_its_words_say(seed: int) -> None:
    healthy, altered, restored, truth, outside = draw(seed)
    variance = torch.rand(SHAPE) + 0.1
    recovered = restoration.recovered_fraction(restored, altered, healthy, truth)
    damage = restoration.damage(restored, healthy, outside, variance)
    ratio = restoration.healthiness(restored, truth, outside)
    for case in range(3):
        x, y, z = healthy[0].numpy(), altered[case].numpy(), restored[case].numpy()
        t, o = truth.numpy(), outside.numpy()
        assert recovered[case] == pytest.approx((z - y)[t].sum() / (x - y)[t].sum())
        assert damage[case] == pytest.approx(((z - x)[o] ** 2).mean() / variance.numpy()[o].mean())
        assert ratio[case] == pytest.approx(z[t].mean() / z[o].mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_the_identity_recovers_nothing_and_the_oracle_everything(seed: int) -> None:
    healthy, altered, _, truth, outside = draw(seed)
    variance = torch.ones(SHAPE)
    oracle, identity = healthy.expand_as(altered), altered
    assert restoration.recovered_fraction(oracle, altered, healthy, truth).tolist() == pytest.approx([1, 1, 1])
    assert restoration.recovered_fraction(identity, altered, healthy, truth).tolist() == [0, 0, 0]
    assert restoration.damage(oracle, healthy, outside, variance).tolist() == [0, 0, 0]
    slight = healthy * 0.999
    assert restoration.recovered_fraction(oracle[:1], slight, healthy, truth).isnan().all(), "too little was taken"
    assert restoration.damage(identity, healthy, outside, torch.zeros(SHAPE)).isnan().all()
    nowhere = torch.zeros(SHAPE, dtype=torch.bool)
    assert restoration.recovered_fraction(oracle, altered, healthy, nowhere).isnan().all()
    assert restoration.healthiness(oracle, nowhere, outside).isnan().all()


def test_identified_means_nearest() -> None:
    torch.manual_seed(0)
    scans = torch.randn(6, 40)
    restored = torch.stack([scans[2] + 0.01, scans[4], scans.mean(dim=0)])
    distances = torch.cdist(restored.double(), scans.double())
    expected = [float(row.argmin() == 2) for row in distances]
    assert restoration.identified(restored, scans, 2).tolist() == expected
    assert expected[:2] == [1.0, 0.0]
    twins = torch.cat([scans, scans[2:3]])
    assert restoration.identified(restored[:1], twins, 2).tolist() == [0.0], "a tie tells nobody apart"
    assert restoration.identified(restored, scans[:1], 0).isnan().all()


def test_correlation_is_pearsons() -> None:
    torch.manual_seed(0)
    maps, reduction, counts = torch.randn(3, 50), torch.rand(3, 50), torch.rand(50) < 0.7
    maps[2] = 1.0
    found = localisation.correlation(maps, reduction, counts)
    expected = [
        pearsonr(m[counts].double(), r[counts].double()).statistic for m, r in zip(maps[:2], reduction[:2], strict=True)
    ]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    assert found[2].isnan()


def test_voxel_variance_is_that_of_all_scans_together() -> None:
    scans = torch.randn(7, *SHAPE)
    found = standard.voxel_variance(iter([scans[:3], scans[3:]]))
    np.testing.assert_allclose(found, np.var(scans.numpy().astype(float), axis=0, ddof=1), rtol=1e-6)
    assert not standard.voxel_variance(iter([scans[:1]])).any()
