"""How far scans are from a linear, Gaussian world, measured on samples whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uadbench.cohorts.card.shape import (
    COMPONENTS,
    component_scores,
    distance_correlations,
    excess_kurtosis,
    far_prediction,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_scores_are_those_of_principal_components(rng):
    images = rng.standard_normal((60, 4)) * [8, 4, 2, 1] @ rng.standard_normal((4, 300))
    images = images + 0.1 * rng.standard_normal(images.shape)
    scores = component_scores(images)
    assert scores.shape == (60, COMPONENTS)
    np.testing.assert_allclose(scores.std(axis=0), 1)
    np.testing.assert_allclose(scores.T @ scores / 60, np.eye(COMPONENTS), atol=1e-8)
    left = np.linalg.svd(images - images.mean(axis=0), full_matrices=False)[0]
    together = np.abs(np.sum(left[:, :COMPONENTS] * scores, axis=0)) / np.sqrt(60)
    np.testing.assert_allclose(together, 1, atol=1e-6)


def test_kurtosis_tells_heavy_tails_from_a_gaussian(rng):
    """Against a second formula: G2 of Joanes and Gill 1998, by moments; and the kurtosis of the distributions."""
    count = 20_000
    drawn = np.stack([rng.standard_normal(count), rng.standard_t(9, count), rng.uniform(size=count)], axis=1)
    found = excess_kurtosis(drawn)
    off = drawn - drawn.mean(axis=0)
    biased = (off**4).mean(axis=0) / (off**2).mean(axis=0) ** 2 - 3
    np.testing.assert_allclose(found, (count - 1) * ((count + 1) * biased + 6) / (count - 2) / (count - 3), rtol=1e-9)
    expected = [0, float(stats.t.stats(9, moments="k")), -1.2]
    np.testing.assert_allclose(found, expected, atol=0.35)
    assert found[1] > 0.5 > abs(found[0])


def test_distance_correlation_is_zero_on_average_for_independent_columns(rng):
    found = np.concatenate([distance_correlations(rng.standard_normal((40, 6))) for _ in range(40)])
    assert found.shape == (600,) and found.min() < 0
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))


def test_distance_correlation_sees_what_correlation_does_not(rng):
    x = rng.standard_normal(300)
    columns = np.stack([x, x**2, 3 - 2 * x], axis=1)
    curved, straight, _ = distance_correlations(columns)
    assert abs(np.corrcoef(x, x**2)[0, 1]) < 0.25 and curved > 0.1
    assert straight == pytest.approx(1)


CUBE = np.stack(np.meshgrid(*[np.arange(-8.0, 9, 8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
PLACES = np.concatenate([CUBE - np.array([40, 0, 0]), CUBE + np.array([40, 0, 0])])
"""Two pieces of tissue, each of which is far from the other."""


def world(rng: np.random.Generator, curved: bool) -> np.ndarray:
    """Scans whose right piece depends on the left one: in a straight line, or by its square."""
    left = rng.uniform(-1, 1, 140)
    right = 2 * left**2 - 1 if curved else -0.7 * left
    clean = np.where(PLACES[:, 0] < 0, left[:, None], right[:, None])
    return np.asarray(clean + 0.2 * rng.standard_normal(clean.shape))


def test_a_kernel_predicts_better_in_a_curved_world(rng):
    found = far_prediction(world(rng, curved=True), PLACES)
    assert found.kernel > found.ridge + 0.1


def test_a_kernel_gains_nothing_in_a_linear_world(rng):
    found = far_prediction(world(rng, curved=False), PLACES)
    assert found.ridge > 0.5 and found.kernel == pytest.approx(found.ridge, abs=0.01)


def test_nothing_is_predicted_from_independent_tissue(rng):
    found = far_prediction(rng.standard_normal((140, len(PLACES))), PLACES)
    assert found.ridge < 0.05 and found.kernel < 0.05
