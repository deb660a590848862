"""Formatting of numbers for terminals and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uadbench.results.schema import Bounded, Result

NOT_AVAILABLE = "n/a"


def number(value: float | None, digits: int = 3) -> str:
    """A number with a given number of significant digits; n/a if it is undefined."""
    return NOT_AVAILABLE if value is None else f"{value:#.{digits}g}".rstrip(".")


def bounded(estimate: Bounded) -> str:
    """An estimate with its interval."""
    if estimate.value is None:
        return NOT_AVAILABLE
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def signed(value: float) -> str:
    """A difference with its sign and three decimals; small ones with two significant digits, never as zero."""
    return f"{value:+.3f}" if abs(value) >= 0.0005 or not value else f"{value:+.1e}"


def p_value(p: float) -> str:
    """A p-value with its sign, such as "= .032" or "< .001"."""
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".")


def percent(severity: float | None) -> str:
    """A severity in percent; None, if it varies between the cases of a test set."""
    return "its own" if severity is None else f"{severity:.0%}"


def share(value: float | None) -> str:
    """A fraction in percent, with one decimal; n/a if it is undefined."""
    return NOT_AVAILABLE if value is None else f"{value:.1%}"


def effective_share(result: Result, names: Sequence[str]) -> float | None:
    """The effective reduction of test sets as a share of the severity, on average; the same at every severity.

    Args:
        result: A result.
        names: Dementias, or `unseen`.

    Returns:
        The share; None if the result does not contain it.
    """
    at = result.severities[0]
    reductions = [result.metric(name, at, "effective_reduction") for name in names]
    present = [each for each in reductions if each is not None]
    return sum(present) / len(present) / at if present and len(present) == len(reductions) else None


def near(result: Result, severity: float) -> float:
    """The severity of a result that is nearest to the given one."""
    return min(result.severities, key=lambda each: abs(each - severity))
