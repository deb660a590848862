"""Cubic interpolation of moved volumes: SciPy is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.simulation.moving import MARGIN, moved

SHAPE = (14, 17, 15)
offsets = st.tuples(*[st.floats(-3, 3)] * 3)


def oracle(volume: np.ndarray, inverse: np.ndarray, start: np.ndarray) -> np.ndarray:
    return ndimage.affine_transform(volume.astype(np.float64), inverse, start, order=3, mode="mirror")


@given(seed=st.integers(0, 999), offset=offsets, scale=st.floats(0.8, 1.25))
@settings(max_examples=25, deadline=None)
def test_translation_and_scaling_are_scipy_s(seed: int, offset: tuple[float, ...], scale: float) -> None:
    volume = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    inverse, start = scale * np.eye(3), np.array(offset)
    np.testing.assert_allclose(moved(volume, [inverse], [start]), oracle(volume, inverse, start), atol=2e-5)


@given(seed=st.integers(0, 999), offset=offsets, angles=st.tuples(*[st.floats(-10, 10)] * 3))
@settings(max_examples=25, deadline=None)
def test_rotations_are_scipy_s(seed: int, offset: tuple[float, ...], angles: tuple[float, ...]) -> None:
    volume = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    inverse, start = Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), np.array(offset)
    np.testing.assert_allclose(moved(volume, [inverse], [start]), oracle(volume, inverse, start), atol=2e-5)


def test_poses_are_averaged() -> None:
    volume = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    turns = [Rotation.from_euler("z", angle, degrees=True).as_matrix() for angle in (-4, 1, 3)]
    starts = [np.array([0.1, -0.4, 0.2])] * 3
    alone = [oracle(volume, turn, start) for turn, start in zip(turns, starts, strict=True)]
    np.testing.assert_allclose(moved(volume, turns, starts), np.mean(alone, axis=0), atol=2e-5)


@pytest.mark.parametrize("far", [2.0 * MARGIN, 1e6, -1e6])
def test_points_far_outside_are_finite(far: float) -> None:
    turn = Rotation.from_euler("x", 5, degrees=True).as_matrix()
    volume = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    assert np.isfinite(moved(volume, [turn], [np.array([far, 0, 0])])).all()
