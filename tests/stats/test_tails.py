"""Tail probabilities of a difference: against Student, simulation, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uadbench.stats.bootstrap import Noise
from uadbench.stats.tails import Spread

NONE = Noise(0.0, 1.0)


def spread(subjects: float, freedom: float, one: Noise = NONE, other: Noise = NONE) -> Spread:
    return Spread(np.array([subjects]), np.array([subjects**2 / freedom]), one, [other])


@pytest.mark.parametrize("freedom", [2, 7, 99])
@pytest.mark.parametrize("t", [0.1, 2.0, 6.0])
def test_subjects_alone_give_student(freedom: int, t: float) -> None:
    found = spread(4.0, freedom).tail(np.array([-2 * t]))
    assert found == pytest.approx([2 * stats.t.sf(t, freedom)], rel=1e-9)
    assert spread(4.0, freedom).half_width() == pytest.approx(2 * stats.t.ppf(0.975, freedom))


@pytest.mark.parametrize("freedom", [1.2, 2, 3.2, 9, 36])
@pytest.mark.parametrize("p", [0.5, 0.05, 1e-3, 4e-6])
def test_trainings_of_one_model_alone_give_student(freedom: float, p: float) -> None:
    far = stats.t.isf(p / 2, freedom)
    for one, other in ((Noise(1.0, freedom), NONE), (NONE, Noise(1.0, freedom))):
        assert spread(0.0, 9, one, other).tail(np.array([far])) == pytest.approx([p], rel=0.02 if p < 0.1 else 0.05)


def test_the_tail_of_a_sum_is_that_of_its_draws() -> None:
    """Two million draws of the three parts."""
    rng = np.random.default_rng(5)
    parts = ((1.0, 99), (1.5, 3.2), (0.4, 2.0))
    total = sum(np.sqrt(v) * rng.standard_t(f, 2_000_000) for v, f in parts)
    both = spread(1.0, 99, Noise(1.5, 3.2), Noise(0.4, 2.0))
    for far in (1.0, 3.0, 8.0, 25.0):
        drawn = float((np.abs(total) >= far).mean())
        assert both.tail(np.array([far])) == pytest.approx([drawn], rel=0.03, abs=3 * np.sqrt(drawn / 2e6))
    half = both.half_width()
    assert (np.abs(total) <= half).mean() == pytest.approx(0.95, abs=0.002)


def test_an_uncertain_variance_makes_a_longer_tail_than_satterthwaite() -> None:
    noise = Noise(1.0, 3.2)
    far = np.array([14.0])
    total = 2.0
    single = 2 * stats.t.sf(far / np.sqrt(total), total**2 / (1 / 99 + 1 / 3.2))
    assert spread(1.0, 99, noise).tail(far)[0] > 2 * single[0]


def test_nothing_varies() -> None:
    nothing = spread(0.0, 9)
    assert np.isnan(nothing.tail(np.array([0.0]))).all() and nothing.half_width() == 0
