"""The variance between trainings, pooled over models: against a plain derivation, simulation and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from uadbench.stats.bootstrap import Noise
from uadbench.stats.trainings import (
    Prior,
    Scored,
    calibration_noise,
    fit_prior,
    score_noise,
    training_noise,
    training_variance,
)


def by_definition(variances: list[float], freedoms: list[int]) -> tuple[float, float]:
    """Smyth's moment equations, solved with derivatives of the log gamma function by differences.

    log s² has mean log s0² + psi(d/2) - log(d/2) - psi(d0/2) + log(d0/2) and variance psi'(d/2) + psi'(d0/2).
    """

    def psi(x: float) -> float:
        return float(special.gammaln(x + 1e-5) - special.gammaln(x - 1e-5)) / 2e-5

    def slope(x: float) -> float:
        return sum(1 / (x + k) ** 2 for k in range(20_000)) + 1 / (x + 20_000 - 0.5)

    logs = [np.log(v) - psi(d / 2) + np.log(d / 2) for v, d in zip(variances, freedoms, strict=True)]
    excess = np.var(logs, ddof=1) - np.mean([slope(d / 2) for d in freedoms])
    half = optimize.bisect(lambda x: slope(x) - excess, 1e-3, 1e4)
    return float(np.exp(np.mean(logs) + psi(half) - np.log(half))), 2 * half


@pytest.mark.parametrize("freedoms", [[2] * 8, [1, 2, 2, 3, 4, 2, 9, 2]], ids=["alike", "different"])
def test_the_prior_solves_smyths_equations(freedoms: list[int]) -> None:
    variances = [1e-5, 4e-3, 2e-4, 1e-4, 6e-5, 3e-6, 8e-4, 2e-2]
    found = fit_prior(variances, freedoms)
    expected = by_definition(variances, freedoms)
    assert found is not None and found.most == sum(freedoms)
    assert (found.variance, found.freedom) == pytest.approx(expected, rel=1e-3)


def test_equal_variances_are_pooled() -> None:
    found = fit_prior([2e-4, 2.1e-4, 1.9e-4], [2, 2, 4])
    assert found == Prior(pytest.approx((2 * 2e-4 + 2 * 2.1e-4 + 4 * 1.9e-4) / 8), np.inf, 8)
    assert found is not None and found.moderated(5.0, 2) == Noise(found.variance, 8)


def test_the_prior_of_many_models_is_found_again() -> None:
    rng = np.random.default_rng(1)
    truth = 3e-4 * 4 / rng.chisquare(4, 4000)
    found = fit_prior((truth * rng.chisquare(2, 4000) / 2).tolist(), [2] * 4000)
    assert found is not None
    assert found.variance == pytest.approx(3e-4, rel=0.1) and found.freedom == pytest.approx(4, rel=0.15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-8, 1e-2), min_size=3, max_size=12), st.floats(0.1, 10))
def test_the_unit_of_scores_does_not_matter(variances: list[float], unit: float) -> None:
    freedoms = [2] * len(variances)
    found, scaled = fit_prior(variances, freedoms), fit_prior([unit * v for v in variances], freedoms)
    assert found is not None and scaled is not None
    if np.isfinite(found.freedom) and found.freedom < 100:  # beyond, rounding decides whether it is infinite
        assert scaled.freedom == pytest.approx(found.freedom, rel=1e-4)
        assert scaled.variance == pytest.approx(unit * found.variance, rel=1e-4)
    for variance in variances:
        moderated = found.moderated(variance, 2)
        assert min(variance, found.variance) * 0.999 <= moderated.variance <= max(variance, found.variance) * 1.001
        assert moderated.freedom <= found.most


def test_too_few_models_share_no_prior() -> None:
    assert fit_prior([1e-4, 1e-5], [2, 2]) is None
    assert fit_prior([0.0, 0.0, 1e-5], [2, 2, 2]) is None
    assert fit_prior([], []) is None


@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_the_variance_between_trainings_is_that_of_their_means(trainings: int) -> None:
    """Subjects that all move with their training; what a subject adds of its own is no training's."""
    moved = np.random.default_rng(trainings).normal(size=trainings)
    values = np.tile(moved[:, None], (1, 10)) + np.arange(10.0)
    assert training_variance(values) == pytest.approx(moved.var(ddof=1))
    assert training_variance(values[:1]) == 0 == training_variance(np.tile(values[:1] / 3, (3, 1)))
    values[0, 3] = np.nan
    assert training_variance(values) == pytest.approx(moved.var(ddof=1), rel=0.3)


def scored(*shifts: float, trained: bool = True) -> Scored:
    return Scored(np.linspace(0, 1, 5) + np.array(shifts)[:, None], trained)


def test_who_has_which_noise() -> None:
    several = [scored(0.0, 0.01, 0.02), scored(0.0, 0.02), scored(0.01, 0.0, 0.05, 0.01)]
    once, fitted, repeated = scored(0.3), scored(0.1, trained=False), scored(0.2, 0.2, 0.2, trained=False)
    drawn_fit = scored(0.2, 0.21, trained=False)
    prior = fit_prior([training_variance(model.values) for model in several], [2, 1, 3])
    assert prior is not None
    *moderated, single, closed, same, random = training_noise([*several, once, fitted, repeated, drawn_fit])
    for model, noise in zip(several, moderated, strict=True):
        count = len(model.values)
        expected = prior.moderated(training_variance(model.values), count - 1)
        assert noise == Noise(expected.variance / count, expected.freedom)
    assert single == prior.moderated(0.0, 0) and single.variance == pytest.approx(prior.variance)
    assert closed.variance == same.variance == 0
    assert random == Noise(pytest.approx(0.01**2 / 2 / 2), 1)


def test_without_a_prior_one_training_says_nothing_and_several_stand_alone() -> None:
    alone, once = training_noise([scored(0.0, 0.01, 0.03), scored(0.3)])
    assert once is None
    assert alone == Noise(pytest.approx(np.var([0.0, 0.01, 0.03], ddof=1) / 3), 2)
    (parts,) = score_noise([scored(0.3)])
    assert parts == []


def test_the_jackknife_gives_the_variance_of_a_mean() -> None:
    """Deleting one of ten groups, where the score is a mean over the groups: the variance of that mean."""
    groups = np.random.default_rng(4).normal(size=10)
    replicates = np.array([np.delete(groups, k).mean() for k in range(10)])
    assert calibration_noise(replicates) == Noise(pytest.approx(groups.var(ddof=1) / 10), 9)
    assert calibration_noise(None).variance == calibration_noise(replicates[:1]).variance == 0
    model = Scored(np.zeros((2, 5)), True, np.stack([replicates - 0.1, replicates + 0.1]))
    assert score_noise([model]) == [[Noise(pytest.approx(groups.var(ddof=1) / 10), 9)]]
