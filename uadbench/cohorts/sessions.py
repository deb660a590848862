"""Session ids in one spelling: M0, ses-M00, ses-M000 and bl are the same visit."""

from __future__ import annotations

import re

BASELINE = "ses-M000"

_MONTH = re.compile(r"(?:ses-)?m(\d{1,4})", re.IGNORECASE)
_FIRST = {"", "bl", "baseline", "ses-bl", "ses-baseline"}


def canonical(session: str) -> str:
    """`ses-M` with three digits, as Clinica writes it today, so that sessions sort by month; other ids stay.

    "bl" and an empty id are the baseline, ses-M000.
    """
    text = session.strip()
    if text.lower() in _FIRST:
        return BASELINE
    found = _MONTH.fullmatch(text)
    return f"ses-M{int(found.group(1)):03d}" if found else text


def months(session: str) -> int | None:
    """Months since baseline; None for an id that does not say (a date, a number)."""
    found = _MONTH.fullmatch(canonical(session))
    return int(found.group(1)) if found else None


def older(baseline: float, session: str) -> float:
    """The age at a session whose id tells the months, else that at baseline."""
    return round(baseline + (months(session) or 0) / 12, 2)
