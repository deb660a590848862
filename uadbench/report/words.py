"""Numbers as a reader sees them, in terminals and on pages."""

from __future__ import annotations

from uadbench.results.schema import Bounded, Result

NOT_AVAILABLE = "n/a"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; n/a where it is undefined."""
    return NOT_AVAILABLE if value is None else f"{value:#.{digits}g}".rstrip(".")


def bounded(estimate: Bounded) -> str:
    """An estimate with its interval."""
    if estimate.value is None:
        return NOT_AVAILABLE
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def signed(value: float) -> str:
    """A difference with its sign and three decimals; a smaller one with two significant digits, never as a zero."""
    return f"{value:+.3f}" if abs(value) >= 0.0005 or not value else f"{value:+.1e}"


def percent(severity: float | None) -> str:
    """A severity; None is that of a test set in which each case has its own."""
    return "its own" if severity is None else f"{severity:.0%}"


def near(result: Result, wanted: float) -> float:
    """The severity of a result nearest to the one that is wanted."""
    return min(result.severities, key=lambda severity: abs(severity - wanted))
