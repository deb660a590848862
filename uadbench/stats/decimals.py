"""Numbers of six significant digits: their digits, and their way through single precision without a loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DIGITS = 6
"""Significant digits that results hold. Single precision keeps every decimal number of six of them apart."""

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_POWERS = np.array([float(f"1e{power}") for power in range(23)])
"""Powers of ten that a float64 holds exactly: an integer times, or over, one of them is rounded once, as a text is."""


def digits_of(values: Doubles) -> tuple[Integers, Integers]:
    """Mantissas of six digits and the exponents of the first; both are 0 for 0 and for what is not finite."""
    finite = np.isfinite(values) & (values != 0)
    exponent = np.zeros(len(values), dtype=np.int64)
    exponent[finite] = np.floor(np.log10(np.abs(values[finite]))).astype(np.int64)
    mantissa = np.zeros(len(values), dtype=np.int64)
    mantissa[finite] = np.rint(values[finite] / 10.0 ** (exponent[finite] - DIGITS + 1)).astype(np.int64)
    carried = np.abs(mantissa) == 10**DIGITS  # 0.9999999 rounds to 1.00000, which is spelled with the next exponent
    mantissa[carried] //= 10
    exponent[carried] += 1
    return mantissa, exponent


def widened(values: npt.NDArray[np.float32]) -> Doubles:
    """The decimal numbers of six digits that were stored in single precision, exactly."""
    wide = values.astype(np.float64)
    mantissa, exponent = digits_of(wide)
    power = exponent - DIGITS + 1
    exact = (mantissa != 0) & (np.abs(power) < len(_POWERS))
    scale = _POWERS[np.where(exact, np.abs(power), 0)]
    wide[exact] = np.where(power < 0, mantissa / scale, mantissa * scale)[exact]
    for place in np.flatnonzero((mantissa != 0) & ~exact):
        wide[place] = float(f"{mantissa[place]}e{power[place]}")
    return wide


def narrowed(values: Doubles) -> npt.NDArray[np.float32] | None:
    """The values in single precision, if `widened` brings back every one of them exactly; else None."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(widened(narrow), values, equal_nan=True) else None
