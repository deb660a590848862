"""Recovery, damage, healthiness and identity: against plain loops, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from uadbench.metrics import localisation, postprocessing, restoration

VOXELS = 120


def draw(seed: int):
    """x, x' and x̂' of three cases, float32, then truth and outside."""
    rng = np.random.default_rng(seed)
    healthy = rng.uniform(0.5, 1.5, (1, VOXELS))
    truth = rng.random(VOXELS) < 0.3
    reduction = 0.3 * truth * rng.uniform(0.5, 1, VOXELS)
    altered = np.repeat(healthy * (1 - reduction), 3, axis=0)
    restored = altered + rng.normal(0, 0.1, altered.shape)
    images = [torch.from_numpy(each.astype(np.float32)) for each in (healthy, altered, restored)]
    return *images, torch.from_numpy(truth), torch.from_numpy(~truth & (rng.random(VOXELS) < 0.8))


def total(differences: np.ndarray) -> float:
    return differences.astype(np.float64).sum()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_each_is_what_its_words_say(seed: int) -> None:
    healthy, altered, restored, truth, outside = draw(seed)
    variance = torch.rand(VOXELS) + 0.1
    recovered = restoration.recovered_fraction(restored, altered, healthy, truth)
    damage = restoration.damage(restored, healthy, outside, variance)
    ratio = restoration.healthiness(restored, truth, outside)
    for case in range(3):
        x, y, z = healthy[0].numpy(), altered[case].numpy(), restored[case].numpy()
        t, o = truth.numpy(), outside.numpy()
        assert recovered[case] == pytest.approx(total((z - y)[t]) / total((x - y)[t]), rel=1e-9)
        assert damage[case] == pytest.approx(total((z - x)[o] ** 2) / total(variance.numpy()[o]), rel=1e-9)
        assert ratio[case] == pytest.approx(total(z[t]) / t.sum() / (total(z[o]) / o.sum()), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_the_identity_recovers_nothing_and_the_oracle_everything(seed: int) -> None:
    healthy, altered, _, truth, outside = draw(seed)
    variance = torch.ones(VOXELS)
    oracle, identity = healthy.expand_as(altered), altered
    assert restoration.recovered_fraction(oracle, altered, healthy, truth).tolist() == pytest.approx([1, 1, 1])
    assert restoration.recovered_fraction(identity, altered, healthy, truth).tolist() == [0, 0, 0]
    assert restoration.damage(oracle, healthy, outside, variance).tolist() == [0, 0, 0]
    slight = healthy * 0.999
    assert restoration.recovered_fraction(oracle[:1], slight, healthy, truth).isnan().all(), "too little was taken"
    assert restoration.damage(identity, healthy, outside, torch.zeros(VOXELS)).isnan().all()
    nowhere = torch.zeros(VOXELS, dtype=torch.bool)
    assert restoration.recovered_fraction(oracle, altered, healthy, nowhere).isnan().all()
    assert restoration.damage(identity, healthy, nowhere, variance).isnan().all()
    assert restoration.healthiness(oracle, nowhere, outside).isnan().all()
    assert restoration.healthiness(oracle, truth, nowhere).isnan().all()


def test_scores_are_float64_and_one_a_case() -> None:
    x, y, z, truth, outside = draw(0)
    for scores in (
        restoration.recovered_fraction(z, y, x, truth),
        restoration.damage(z, x, outside, torch.rand(VOXELS)),
        restoration.healthiness(z, truth, outside),
        restoration.ReferenceScans(torch.rand(4, VOXELS)).identified(z, torch.rand(VOXELS), None),
    ):
        assert scores.dtype == torch.float64 and scores.shape == (3,)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_voxels_outside_the_masks_do_not_matter(seed: int) -> None:
    healthy, altered, restored, truth, outside = draw(seed)
    variance = torch.rand(VOXELS) + 0.1
    for scores in (
        lambda x, y, z: restoration.recovered_fraction(z.where(truth, 9.0), y.where(truth, -9.0), x, truth),
        lambda x, y, z: restoration.damage(z.where(outside, 9.0), x, outside, variance.where(outside, -9.0)),
        lambda x, y, z: restoration.healthiness(z.where(truth | outside, 9.0), truth, outside),
    ):
        junk = scores(healthy, altered, restored)
        plain = scores(healthy, altered, restored.where(truth | outside, 1.0))
        np.testing.assert_allclose(junk, plain, rtol=1e-12)


def test_identified_means_nearest() -> None:
    torch.manual_seed(0)
    scans = torch.randn(6, 40)
    restored = torch.stack([scans[2] + 0.01, scans[4], scans.mean(dim=0)])
    distances = torch.cdist(restored.double(), scans.double())
    expected = [float(row.argmin() == 2) for row in distances]
    assert restoration.ReferenceScans(scans).identified(restored, scans[2], 2).tolist() == expected
    assert expected[:2] == [1.0, 0.0]
    twins = torch.cat([scans, scans[2:3]])
    tied = restoration.ReferenceScans(twins).identified(restored[:1], scans[2], 2)
    assert tied.tolist() == [0.0], "a tie identifies nobody"
    assert restoration.ReferenceScans(scans[:1]).identified(restored, scans[0], 0).isnan().all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 50), st.integers(0, 10**6))
def test_each_of_the_reference_scans_can_be_asked_for(people: int, voxels: int, seed: int) -> None:
    """People who are much alike, far from 0: squares of whole scans in float32 would be rounding alone."""
    generator = torch.Generator().manual_seed(seed)
    scans = 100 + 0.01 * torch.rand(people, voxels, generator=generator)
    restored = 100 + 0.01 * torch.rand(5, voxels, generator=generator)
    distances = (restored.double()[:, None] - scans.double()).square().sum(dim=2)
    references = restoration.ReferenceScans(scans)
    for own in range(people):
        others = distances[:, [k for k in range(people) if k != own]].min(dim=1).values
        clear = (distances[:, own] - others).abs() > 1e-8 * voxels
        expected = (distances[:, own] < others).double()
        assert torch.equal(references.identified(restored, scans[own], own)[clear], expected[clear])
        strangers = restoration.ReferenceScans(scans[[k for k in range(people) if k != own]])
        assert torch.equal(strangers.identified(restored, scans[own], None)[clear], expected[clear])


def test_correlation_is_pearsons() -> None:
    torch.manual_seed(0)
    maps, reduction = torch.randn(4, 50), torch.rand(4, 50)
    maps[2], reduction[3] = 0.1, 0.0
    found = localisation.correlation(maps, reduction)
    expected = [pearsonr(m.double(), r.double()).statistic for m, r in zip(maps[:2], reduction[:2], strict=True)]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    assert found[2:].isnan().all() and found.dtype == torch.float64


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.sampled_from([0.0, 1e3]), st.integers(0, 10**6))
def test_correlation_is_accurate_beside_an_offset(voxels: int, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps, reduction = (offset + rng.normal(size=(2, 3, voxels))).astype(np.float32)
    found = localisation.correlation(torch.from_numpy(maps), torch.from_numpy(reduction))
    for case in range(3):
        expected = np.corrcoef(maps[case].astype(float), reduction[case].astype(float))[0, 1]
        assert found[case] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    ends = localisation.correlation(
        torch.from_numpy(np.concatenate([maps, -maps])), torch.from_numpy(maps).repeat(2, 1)
    )
    np.testing.assert_allclose(ends, [1, 1, 1, -1, -1, -1], rtol=1e-12)
    assert (ends.abs() <= 1).all()


def test_correlation_with_what_is_not_finite_is_nan() -> None:
    torch.manual_seed(0)
    maps, reduction = torch.randn(9, 50), torch.rand(9, 50)
    for case, wrong in enumerate([float("nan"), float("inf"), float("-inf")] * 3):
        maps[case, [0, 20, 49][case // 3]] = wrong
    assert localisation.correlation(maps, reduction).isnan().all()
    assert localisation.correlation(reduction, maps).isnan().all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 10**6))
def test_mean_inside_is_the_mean_of_what_is_inside(cases: int, voxels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, where = rng.normal(5, 1, (cases, voxels)).astype(np.float32), rng.random(voxels) < 0.5
    found = localisation.mean_inside(torch.from_numpy(values), torch.from_numpy(where))
    assert found.dtype == torch.float64 and found.shape == (cases,)
    if where.any():
        np.testing.assert_allclose(found, values[:, where].astype(float).mean(axis=1), rtol=1e-12)
        turned = torch.from_numpy(np.asfortranarray(values))
        assert torch.equal(localisation.mean_inside(turned, torch.from_numpy(where)), found)
    else:
        assert found.isnan().all()
    assert localisation.mean_inside(torch.from_numpy(values), torch.zeros(voxels, dtype=torch.bool)).isnan().all()


@pytest.mark.parametrize("shape", [(VOXELS,), (5, 6, 4)])
def test_voxel_variance_is_that_of_all_scans_together(shape: tuple[int, ...]) -> None:
    scans = torch.randn(7, *shape)
    found = postprocessing.voxel_variance(iter([scans[:3], scans[3:]]))
    assert found.shape == shape and found.dtype == torch.float64
    np.testing.assert_allclose(found, np.var(scans.numpy().astype(float), axis=0, ddof=1), rtol=1e-6)
    assert not postprocessing.voxel_variance(iter([scans[:1]])).any()
