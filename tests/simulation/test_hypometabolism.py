"""Simulated hypometabolism: the authors' formula, on the right side, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.stats import norm

from uadbench.errors import InputError
from uadbench.simulation import hypometabolism
from uadbench.simulation.regions import DEMENTIAS, dementia
from uadbench.space import atlas
from uadbench.types import Case, Grid, Intensity, Scan

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
FLOATS = st.floats(-1e6, 1e6, width=32)
UNITS = st.floats(0, 1, width=32)
SHAPE = (4, 3, 2)


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    return atlas.brain_mask(PAPER)


def smoothed(name: str) -> np.ndarray:
    return hypometabolism.smoothed_mask(name, PAPER.affine, PAPER.shape)


@pytest.mark.parametrize("name", DEMENTIAS)
def test_the_mask_holds_the_tables_weights(name: str) -> None:
    weights, _ = hypometabolism.mask(name)
    labels, _ = atlas.aal3()
    assert weights.dtype == np.float32 and weights.shape == labels.shape
    listed = np.zeros(256)
    for label, weight in dementia(name).weights.items():
        listed[atlas.region_ids()[label]] = weight
    assert set(np.unique(weights)) == {0.0, *dementia(name).weights.values()}
    voxels = np.bincount(labels.ravel(), minlength=256)
    np.testing.assert_array_equal(np.bincount(labels.ravel(), weights.ravel(), 256), listed * voxels)


@pytest.mark.parametrize(("name", "left"), [("lvppa", True), ("svppa", True), ("nfvppa", True), ("ad", False)])
def test_left_is_left(name: str, left: bool) -> None:
    for volume, affine in (hypometabolism.mask(name), (smoothed(name), PAPER.affine)):
        x = (affine @ [*ndimage.center_of_mass(volume), 1.0])[0]
        assert x < -8 if left else abs(x) < 4


def test_it_is_the_authors_formula() -> None:
    """x' = x * gaussian(1 - d m) with scipy's defaults, as in ClinicaDL; nfvPPA stays clear of the border."""
    weights, affine = hypometabolism.mask("nfvppa")
    scan = np.random.default_rng(0).uniform(0, 2, weights.shape).astype(np.float32)
    theirs = scan * ndimage.gaussian_filter(1 - 0.3 * weights.astype(np.float64), 5)
    ours = hypometabolism.alter(scan, hypometabolism.smoothed_mask("nfvppa", affine, weights.shape), 0.3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_the_papers_grid_is_plain_decimation() -> None:
    weights, affine = hypometabolism.mask("lvppa")
    fine = hypometabolism.smoothed_mask("lvppa", affine, weights.shape)
    at = np.rint(np.linalg.solve(affine, PAPER.affine)[:3, 3]).astype(int)
    region = tuple(slice(a, a + 2 * n, 2) for a, n in zip(at, PAPER.shape, strict=True))
    np.testing.assert_array_equal(smoothed("lvppa"), fine[region])


def test_any_orientation_shows_the_same_brain() -> None:
    flipped = PAPER.affine @ np.array([[-1.0, 0, 0, 79], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    turned = hypometabolism.smoothed_mask("svppa", flipped, (80, 80, 96))
    np.testing.assert_allclose(turned, smoothed("svppa")[::-1].transpose(0, 2, 1), atol=1e-6)


def test_outside_of_the_atlas_there_is_nothing() -> None:
    away = PAPER.affine + np.array([[0, 0, 0, 500.0], *[[0.0] * 4] * 3])
    assert not hypometabolism.smoothed_mask("ad", away, PAPER.shape).any()


def test_a_smoothed_mask_is_made_once_and_cannot_be_changed() -> None:
    assert smoothed("ad") is smoothed("ad")
    with pytest.raises(ValueError, match="read-only"):
        smoothed("ad")[0] = 1
    assert smoothed("ad") is not hypometabolism.smoothed_mask("ad", PAPER.affine, PAPER.shape, 3.0)


def test_without_width_the_mask_is_as_drawn() -> None:
    weights, affine = hypometabolism.mask("pca")
    np.testing.assert_array_equal(hypometabolism.smoothed_mask("pca", affine, weights.shape, 0.0), weights)


@settings(max_examples=50)
@given(hnp.arrays(np.float32, SHAPE, elements=FLOATS), hnp.arrays(np.float32, SHAPE, elements=UNITS), UNITS)
def test_only_the_mask_changes(scan: np.ndarray, weights: np.ndarray, severity: float) -> None:
    altered = hypometabolism.alter(scan, weights, severity)
    reduction = hypometabolism.reduction(weights, severity)
    spared = reduction == 0
    assert (reduction >= 0).all() and (reduction <= np.float32(severity)).all()
    assert (altered[spared].view(np.uint32) == scan[spared].view(np.uint32)).all()
    assert (abs(altered) <= abs(scan)).all()
    assert altered.dtype == reduction.dtype == np.float32


@settings(max_examples=20)
@given(hnp.arrays(np.float32, SHAPE, elements=st.floats(width=32)), hnp.arrays(np.float32, SHAPE, elements=UNITS))
def test_severity_0_changes_nothing(scan: np.ndarray, weights: np.ndarray) -> None:
    np.testing.assert_array_equal(hypometabolism.alter(scan, weights, 0.0), scan)


@pytest.mark.parametrize("name", DEMENTIAS)
def test_on_the_papers_grid(name: str, brain: np.ndarray) -> None:
    weights = smoothed(name)
    assert weights.min() >= 0 and weights.max() <= 1
    truth = truth_of(name, brain)
    share = (truth == 1).sum() / brain.sum()
    assert 0.04 < share < 0.22
    assert 0.45 < weights[truth == 1].mean() < 0.8  # effective / nominal: smoothing and lower weights take the rest


def truth_of(name: str, brain: np.ndarray) -> np.ndarray:
    support = hypometabolism.smoothed_support(name, PAPER.affine, PAPER.shape)
    return hypometabolism.truth(smoothed(name), brain, support=support)


@pytest.mark.parametrize("name", DEMENTIAS)
def test_the_support_is_the_smoothed_indicator_of_the_regions_that_count(name: str) -> None:
    labels, affine = atlas.aal3()
    listed = [atlas.region_ids()[label] for label, weight in dementia(name).weights.items() if weight >= 0.4]
    expected = ndimage.gaussian_filter(np.isin(labels, listed).astype(np.float64), 5, mode="constant")
    support = hypometabolism.smoothed_support(name, affine, labels.shape)
    np.testing.assert_allclose(support, expected, atol=2e-6)
    assert (support >= hypometabolism.smoothed_mask(name, affine, labels.shape) - 0.25).all(), "lesser weights are .25"


@pytest.mark.parametrize(("name", "share"), [("lvppa", 0.9), ("svppa", 0.9), ("nfvppa", 0.1)])
def test_the_weaker_side_belongs_to_the_truth(name: str, share: float, brain: np.ndarray) -> None:
    """lvPPA and svPPA affect the same regions on the right, nfvPPA only the supplementary motor area."""
    positive = truth_of(name, brain) == 1
    left = positive[:40].sum()  # x < 0
    right = positive[40:].sum()
    assert share * left < right < left * 1.1
    core = hypometabolism.truth(smoothed(name), brain) == 1
    assert not (core & ~positive).any() and core[40:].sum() < 0.5 * right


def test_without_lesser_weights_the_support_is_the_mask() -> None:
    assert set(dementia("ad").weights.values()) == {1.0}
    support = hypometabolism.smoothed_support("ad", PAPER.affine, PAPER.shape)
    np.testing.assert_array_equal(support, smoothed("ad"))
    assert not hypometabolism.smoothed_support("ad", PAPER.affine, PAPER.shape, 5.0, 1.5).any()


@given(st.sampled_from(DEMENTIAS), st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_truths_are_nested(name: str, weight_a: float, weight_b: float, level_a: float, level_b: float) -> None:
    """A larger least weight or a higher level never adds a positive voxel; altered voxels are never negative."""
    grid = Grid((40, 48, 40), 4.0, (-79.0, -110.0, -69.0))
    mask, brain = hypometabolism.smoothed_mask(name, grid.affine, grid.shape), atlas.brain_mask(grid)

    def labels(weight: float, level: float) -> np.ndarray:
        support = hypometabolism.smoothed_support(name, grid.affine, grid.shape, least_weight=weight)
        return hypometabolism.truth(mask, brain, level, 0.05, support)

    wide = labels(min(weight_a, weight_b), min(level_a, level_b))
    narrow = labels(max(weight_a, weight_b), max(level_a, level_b))
    assert not ((narrow == 1) & (wide != 1)).any()
    for truth in (wide, narrow):
        assert ((truth == 1) <= brain).all() and (truth[~brain] == -1).all()
        assert not ((truth == 0) & (mask > 0.05)).any()
        # uptake outside the truth and its rim is intact but for 5 % of the severity
        assert hypometabolism.reduction(mask, 0.3)[truth == 0].max() <= 0.3 * 0.05 + 1e-6


@pytest.mark.parametrize("name", DEMENTIAS)
def test_at_severity_0_the_truth_is_healthy(name: str, brain: np.ndarray) -> None:
    scan = np.random.default_rng(2).uniform(0, 2, PAPER.shape).astype(np.float32)
    inside = truth_of(name, brain) == 1
    assert inside.any() and np.array_equal(hypometabolism.alter(scan, smoothed(name), 0.0), scan)


def test_a_case_and_alter_agree_to_the_bit(brain: np.ndarray) -> None:
    data = np.random.default_rng(1).uniform(0, 2, PAPER.shape).astype(np.float32)
    weights = smoothed("ad")
    case = Case(
        scan=Scan("sub-1", "ses-1", data, PAPER.affine, (0.0, 2.0)),
        reduction=hypometabolism.reduction(weights, 0.3),
        truth=hypometabolism.truth(weights, brain),
        anomaly="ad",
        severity=0.3,
        intensity=Intensity(0.0, 1.0),
    )
    np.testing.assert_array_equal(hypometabolism.alter(data, weights, 0.3), case.altered)
    assert 0.18 < case.effective_reduction < 0.3


def test_truth_follows_its_definition() -> None:
    weights = np.array([[[0.0, 0.05, 0.051, 0.5, 0.501, 1.0, 1.0, 0.0]]], dtype=np.float32)
    weights[0, 0, 1] = np.float32(0.05) - np.float32(1e-6)
    inside = np.array([[[True, True, True, True, True, True, False, False]]])
    truth = hypometabolism.truth(weights, inside)
    assert truth.dtype == np.int8
    assert truth.ravel().tolist() == [0, 0, -1, -1, 1, 1, -1, -1]
    assert hypometabolism.truth(weights, inside, 0.04, 0.04).ravel().tolist() == [0, 1, 1, 1, 1, 1, -1, -1]


@pytest.mark.parametrize("width", [6, 10, 40])
def test_the_thinner_the_region_the_less_is_left_of_the_nominal_severity(width: int) -> None:
    slab = np.zeros((100, 60, 60), dtype=np.float32)
    slab[30 : 30 + width] = 1
    middle = hypometabolism.blur(slab, 5.0)[30 : 30 + width, 30, 30]
    ratio = width / 5.0  # the mean of a Gaussian-blurred box over the box itself, integrated by hand
    expected = 2 * norm.cdf(ratio) - 1 - 2 / ratio * (norm.pdf(0) - norm.pdf(ratio))
    effective = hypometabolism.reduction(middle, 0.3).mean()
    assert effective / 0.3 == pytest.approx(expected, abs=0.01)
    assert effective < 0.3


@pytest.mark.parametrize("severity", [-0.01, 1.01, 30, float("nan")])
def test_a_severity_is_a_fraction(severity: float) -> None:
    ones = np.ones(SHAPE, dtype=np.float32)
    with pytest.raises(InputError, match="severity"):
        hypometabolism.alter(ones, ones, severity)


def test_what_cannot_be_used_is_refused() -> None:
    ones = np.ones(SHAPE, dtype=np.float32)
    inside = np.ones(SHAPE, dtype=bool)
    with pytest.raises(InputError, match="must share a lattice"):
        hypometabolism.alter(ones[:1], ones, 0.3)
    with pytest.raises(InputError, match="must share a lattice"):
        hypometabolism.truth(ones, inside[:1])
    with pytest.raises(InputError, match="0 <= ignored <= positive"):
        hypometabolism.truth(ones, inside, 0.1, 0.2)
    with pytest.raises(InputError, match="did you mean 'svppa'"):
        hypometabolism.mask("svpa")
    with pytest.raises(InputError, match="sigma_mm=-1"):
        hypometabolism.smoothed_mask("ad", PAPER.affine, PAPER.shape, -1.0)
