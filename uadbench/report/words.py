"""Numbers as a reader sees them, in terminals and on pages."""

from __future__ import annotations

NOT_AVAILABLE = "n/a"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; n/a where it is undefined."""
    return NOT_AVAILABLE if value is None else f"{value:#.{digits}g}".rstrip(".")
