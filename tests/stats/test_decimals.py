"""Numbers of six digits: through single precision and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uadbench.stats.decimals import narrowed, widened


@given(
    mantissa=st.integers(1, 999_999), power=st.integers(-42, 32), sign=st.sampled_from([1, -1])
)  # from the smallest normal number of single precision to its largest
@example(mantissa=999_999, power=-6, sign=1)
@example(mantissa=100_000, power=-5, sign=1)
@example(mantissa=1, power=-3, sign=-1)
@example(mantissa=8_388_61, power=1, sign=1)
def test_six_digits_come_back_exactly(mantissa: int, power: int, sign: int) -> None:
    value = sign * float(f"{mantissa}e{power}")
    if not 1.2e-38 < abs(value) < 3.4e38:
        return
    narrow = narrowed(np.array([value]))
    assert narrow is not None and narrow.dtype == np.float32
    assert widened(narrow)[0] == value


def test_what_is_no_decimal_number_comes_back_too() -> None:
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf])
    narrow = narrowed(values)
    assert narrow is not None
    again = widened(narrow)
    np.testing.assert_array_equal(again, values)
    np.testing.assert_array_equal(np.signbit(again[:2]), [False, True])


@pytest.mark.parametrize("value", [0.1234567, 1 / 3, 1e39, 1.23456e-43, 5e-324, 16_777_217.0])
def test_what_would_lose_a_digit_stays_in_double_precision(value: float) -> None:
    assert narrowed(np.array([0.5, value])) is None
