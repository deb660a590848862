"""Session ids in one spelling: M0, ses-M00, ses-M000 and bl are the same visit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

BASELINE = "ses-M000"

_MONTH = re.compile(r"(?:ses-)?m(\d{1,4})", re.IGNORECASE)
_LOWEST = re.compile(r"(?:ses-)?(0+|0*1)", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:ses-)?(\d{1,18})", re.IGNORECASE)
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


def baseline_of(sessions: Iterable[str]) -> str:
    """The baseline among a person's sessions: ses-M000, or the first of numbered ones (ses-0, ses-01); "" for none."""
    known = {canonical(session) for session in sessions}
    numbered = sorted((session for session in known if _LOWEST.fullmatch(session)), key=_number)
    return BASELINE if BASELINE in known else numbered[0] if numbered else ""


def may_precede(one: str, other: str) -> bool:
    """Whether a session is not later than another one; true where their ids do not say."""
    first, second = months(one), months(other)
    if first is None and second is None:
        numbered = all(_NUMBERED.fullmatch(session.strip()) for session in (one, other))
        first, second = (_number(session) if numbered else None for session in (one, other))
    return first is None or second is None or first <= second


def in_time(sessions: Iterable[str]) -> list[str]:
    """Sessions sorted by time; empty where their ids do not say which one is earlier."""
    ordered = sorted(sessions, key=lambda session: (months(session) is None, months(session) or 0, _number(session)))
    strict = all(may_precede(a, b) and not may_precede(b, a) for a, b in pairwise(ordered))
    return ordered if strict else []


def _number(session: str) -> int:
    found = _NUMBERED.fullmatch(session.strip())
    return int(found.group(1)) if found else 0


def older(baseline: float, session: str) -> float:
    """The age at a session whose id tells the months, else that at baseline."""
    return round(baseline + (months(session) or 0) / 12, 2)
