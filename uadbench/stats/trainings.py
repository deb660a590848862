"""The variance between trainings of a model, pooled over models by empirical Bayes.

Two or three trainings say little about the variance of one model, and all trainings together say much about a typical
variance. Smyth (2004, Stat Appl Genet Mol Biol 3:3) describes the variances of the models by a scaled inverse
chi-square prior, estimates it from all of them, and replaces each variance by its posterior mean. The statistic of a
test then has the degrees of freedom of the model and of the prior together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from uadbench.stats.bootstrap import Noise, mean_over_seeds
from uadbench.types import Values

SMALLEST = 1e-18
"""The smallest variance between trainings; anything below is rounding (scores have six digits)."""

LEAST_MODELS = 3
"""The number of models with several trainings from which a prior is estimated."""

FLOOR = 1e-5
"""The smallest variance in the estimate of a prior, as a share of the median: a logarithm near 0 would dominate it."""


@dataclass(frozen=True)
class Scored:
    """One measure of one model.

    Attributes:
        values: (trainings, subjects) scores; NaN if n/a. At least one training.
        trained: Whether trainings can differ. False for a model that is fitted in closed form, or not at all: if it has
            one training, no variance between trainings is assumed.
        calibration: (runs, groups) delete-a-group jackknife replicates of the mean score: the score of each run when
            each group of validation scans is left out of the calibration. The groups are those of all models. None if
            there are no replicates.
    """

    values: Values
    trained: bool = True
    calibration: Values | None = None


@dataclass(frozen=True)
class Prior:
    """A scaled inverse chi-square distribution of the variance between trainings.

    Attributes:
        variance: The typical variance (the scale).
        freedom: Its degrees of freedom; infinite if the observed variances differ no more than by chance.
        most: The degrees of freedom of all variances from which the prior is estimated. No test has more.
    """

    variance: float
    freedom: float
    most: float

    def moderated(self, variance: float, freedom: float) -> Noise:
        """The posterior mean of the variance of one model.

        Args:
            variance: The variance between its trainings; anything if there is one training.
            freedom: The number of trainings minus 1.

        Returns:
            The variance of one training, with its degrees of freedom.
        """
        if np.isinf(self.freedom):
            return Noise(self.variance, self.most)
        own = freedom * variance if freedom else 0.0
        total = self.freedom + freedom
        return Noise((self.freedom * self.variance + own) / total, min(total, self.most))


def fit_prior(variances: Sequence[float], freedoms: Sequence[float]) -> Prior | None:
    """Estimate the prior from the moments of the logarithms of the variances (Smyth 2004, section 6.2).

    If the logarithms vary no more than those of equal variances would, the prior has infinite degrees of freedom, and
    its variance is the pooled one. As in the R package limma, variances below a small share of the median are raised to
    it, and the degrees of freedom of a test are limited to those of all data.

    Args:
        variances: The variance between the trainings of each model.
        freedoms: The number of trainings of each model minus 1.

    Returns:
        The prior; None if there are fewer than `LEAST_MODELS` models, or more than half of the variances are 0.
    """
    observed, half = np.asarray(variances, dtype=np.float64), np.asarray(freedoms, dtype=np.float64) / 2
    if len(observed) < LEAST_MODELS or np.median(observed) <= SMALLEST:
        return None
    observed = np.maximum(observed, FLOOR * np.median(observed))
    logs = np.log(observed) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    most = float(2 * half.sum())
    if excess <= 0:
        return Prior(float((half * observed).sum() / half.sum()), np.inf, most)
    prior = _inverse_trigamma(excess)
    scale = float(np.exp(logs.mean() + digamma(prior) - np.log(prior)))
    return Prior(scale, 2 * prior, most)


def _inverse_trigamma(value: float) -> float:
    """The y with trigamma(y) = value; 1 / y² < trigamma(y) < 1 / y + 1 / y² encloses it."""
    low, high = value**-0.5, (1 + np.sqrt(1 + 4 * value)) / (2 * value)
    return float(brentq(lambda y: float(polygamma(1, y)) - value, low, high))


def training_variance(values: Values) -> float:
    """The variance between trainings of the mean score.

    Args:
        values: (trainings, subjects) scores; NaN if n/a.

    Returns:
        The variance of one training; 0 for a single training, from which it cannot be estimated.
    """
    if len(values) < 2:
        return 0.0
    off = values - mean_over_seeds(values[..., None])[:, 0]
    # sorted and contiguous, so that the result does not depend on the order of subjects
    effects = np.nanmean(np.sort(np.ascontiguousarray(off), axis=1), axis=1)
    variance = float(effects.var(ddof=1))
    return variance if variance > SMALLEST else 0.0


def training_noise(models: Sequence[Scored]) -> list[Noise | None]:
    """The variance of each model's mean over its trainings, moderated by those of the other models.

    Trained models with several trainings share a prior. A trained model with one training has the variance of the prior
    alone. Without a prior, a model has its own variance. Models whose trainings cannot differ, or do not, have none.

    Args:
        models: The models of one comparison.

    Returns:
        The variance of each mean; None if it is unknown: a trained model with one training, without a prior.
    """
    counts = [len(model.values) for model in models]
    variances = [training_variance(model.values) for model in models]
    pool = [k for k, model in enumerate(models) if model.trained and counts[k] > 1]
    prior = fit_prior([variances[k] for k in pool], [counts[k] - 1 for k in pool])
    return [
        _noise(model, variance, count, prior) for model, variance, count in zip(models, variances, counts, strict=True)
    ]


def _noise(model: Scored, variance: float, count: int, prior: Prior | None) -> Noise | None:
    if not model.trained or prior is None:
        if model.trained and count < 2:
            return None
        return Noise(variance / count, max(count - 1, 1))
    one = prior.moderated(variance, count - 1)
    return Noise(one.variance / count, one.freedom)


def calibration_noise(replicates: Values | None) -> Noise:
    """The variance of a score, or of a difference of scores, that is due to the calibration scans.

    The delete-a-group jackknife (Kott 2001, J Off Stat 17:521): (G - 1) / G times the sum of the squared deviations of
    the replicates from their mean.

    Args:
        replicates: (groups,) replicates; None if there are none.

    Returns:
        The variance with G - 1 degrees of freedom; 0 without replicates.
    """
    if replicates is None or len(replicates) < 2:
        return Noise(0.0, 1.0)
    groups = len(replicates)
    return Noise(float((groups - 1) * replicates.var()), groups - 1.0)


def mean_replicates(model: Scored) -> Values | None:
    """The replicates of a model, averaged over its runs: (groups,)."""
    return None if model.calibration is None else np.asarray(np.atleast_2d(model.calibration).mean(axis=0))


def score_noise(models: Sequence[Scored]) -> list[list[Noise]]:
    """What adds to the variance between subjects of each model's mean score: trainings and calibration.

    Args:
        models: The models of one comparison.

    Returns:
        The noise of each model; training noise that is unknown is left out.
    """
    noises = training_noise(models)
    return [
        [each for each in (noise, calibration_noise(mean_replicates(model))) if each is not None and each.variance > 0]
        for model, noise in zip(models, noises, strict=True)
    ]
