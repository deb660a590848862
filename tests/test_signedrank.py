"""Wilcoxon's test for many pairs: what SciPy gives for each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.signedrank import signed_rank_p


def expected(row: np.ndarray) -> float:
    moved = row[row != 0]
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else np.nan


@pytest.mark.parametrize("subjects", [1, 2, 5, 8, 30, 50, 51, 100])
@pytest.mark.parametrize("digits", [9, 1, 0])
def test_as_scipy(subjects, digits):
    """With few ties and zeros, with many, and with none."""
    rows = np.round(np.random.default_rng(subjects).standard_normal((20, subjects)) + 0.2, digits)
    np.testing.assert_allclose(signed_rank_p(rows), [expected(row) for row in rows], rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 70), st.floats(0, 1))
def test_zeros_are_left_out(seed, subjects, share):
    rng = np.random.default_rng(seed)
    row = rng.standard_normal(subjects) * (rng.random(subjects) > share)
    np.testing.assert_allclose(signed_rank_p(row[None]), [expected(row)], rtol=1e-9)


def test_signs_do_not_matter():
    rows = np.random.default_rng(1).standard_normal((10, 40))
    np.testing.assert_allclose(signed_rank_p(rows), signed_rank_p(-rows))
