"""Numbers with six significant digits: their mantissas and exponents, and lossless storage in single precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DIGITS = 6
"""The number of significant digits in results. Single precision represents six decimal digits uniquely."""

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_POWERS = np.array([float(f"1e{power}") for power in range(23)])
"""Powers of ten that are exact in float64. The product or quotient of an integer and one of them is rounded once, and
so equals the number that is parsed from text."""


def digits_of(values: Doubles) -> tuple[Integers, Integers]:
    """Split numbers into a mantissa of six digits and a decimal exponent.

    Args:
        values: (N,) numbers.

    Returns:
        The mantissas, (N,), and the exponents of their first digits, (N,); both are 0 for 0, NaN and infinity.
    """
    finite = np.isfinite(values) & (values != 0)
    exponent = np.zeros(len(values), dtype=np.int64)
    exponent[finite] = np.floor(np.log10(np.abs(values[finite]))).astype(np.int64)
    mantissa = np.zeros(len(values), dtype=np.int64)
    mantissa[finite] = np.rint(values[finite] / 10.0 ** (exponent[finite] - DIGITS + 1)).astype(np.int64)
    carried = np.abs(mantissa) == 10**DIGITS  # 0.9999999 rounds to 1.00000, which has the next exponent
    mantissa[carried] //= 10
    exponent[carried] += 1
    return mantissa, exponent


def widened(values: npt.NDArray[np.float32]) -> Doubles:
    """Restore decimal numbers of six digits that were stored in single precision.

    Args:
        values: (N,) float32.

    Returns:
        (N,) float64, the exact decimal numbers.
    """
    wide = values.astype(np.float64)
    mantissa, exponent = digits_of(wide)
    power = exponent - DIGITS + 1
    exact = (mantissa != 0) & (np.abs(power) < len(_POWERS))
    scale = _POWERS[np.where(exact, np.abs(power), 0)]
    wide[exact] = np.where(power < 0, mantissa / scale, mantissa * scale)[exact]
    for index in np.flatnonzero((mantissa != 0) & ~exact):
        wide[index] = float(f"{mantissa[index]}e{power[index]}")
    return wide


def narrowed(values: Doubles) -> npt.NDArray[np.float32] | None:
    """Convert numbers to single precision if `widened` restores all of them exactly.

    Args:
        values: (N,) float64.

    Returns:
        (N,) float32, or None if a number would change.
    """
    with np.errstate(over="ignore", under="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(widened(narrow), values, equal_nan=True) else None
