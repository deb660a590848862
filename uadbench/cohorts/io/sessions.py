"""Session ids in one spelling: M0, ses-M00, ses-M000 and bl are the same visit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from itertools import pairwise
from typing import Literal, NamedTuple

BASELINE = "ses-M000"

_MONTH = re.compile(r"(?:ses-)?m(\d{1,4})", re.IGNORECASE)
_DATE = re.compile(r"((?:19|20)\d{2})[-_.]?(\d{2})[-_.]?(\d{2})")
_DAYS = re.compile(r"d(\d{1,5})")
_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
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


class When(NamedTuple):
    """What a session id says about time: values on the same scale can be compared."""

    scale: Literal["months", "days", "date", "number"]
    value: int


_ENTRY = When("months", 0)


def when(session: str) -> When | None:
    """The time in a session id; None for an id that does not say it, or not for certain.

    Known are months (M012), days since entry (d0423, as in OASIS), dates that begin with the year (20190312,
    2019-03-12) and the numbers of sessions (01, at most four digits).
    """
    if (since := months(session)) is not None:
        return When("months", since)
    text = session.strip().lower().removeprefix("ses-")
    if found := _DATE.fullmatch(text):
        with suppress(ValueError):
            return When("date", date(*map(int, found.groups())).toordinal())
    if found := _DAYS.fullmatch(text):
        return When("days", int(found.group(1)))
    return When("number", int(text)) if _NUMBER.fullmatch(text) else None


def years_between(one: str, other: str) -> float | None:
    """The years from one session to another; None where their ids do not say."""
    first, second = when(one), when(other)
    if first is None or second is None or first.scale != second.scale or first.scale == "number":
        return None
    return (second.value - first.value) / (12 if first.scale == "months" else 365.25)


def baseline_of(sessions: Iterable[str], first: int = 1) -> str:
    """The baseline among a person's sessions: ses-M000, or the one with the number `first`; "" where none is it."""
    known = sorted({canonical(session) for session in sessions})
    numbered = [session for session in known if when(session) == ("number", first)]
    return BASELINE if BASELINE in known else numbered[0] if numbered else ""


def numbered_from(sessions: Iterable[str]) -> int:
    """The number of the first session in a cohort whose sessions are numbered: 0 where any has that number, else 1."""
    return 0 if any(when(session) == ("number", 0) for session in sessions) else 1


def may_precede(one: str, other: str) -> bool:
    """Whether a session is not later than another one; true where their ids do not say. Nothing precedes ses-M000."""
    first, second = when(one), when(other)
    if first is None or second is None:
        return True
    return first.value <= second.value if first.scale == second.scale else second != _ENTRY


def precedes(one: str, other: str) -> bool:
    """Whether a session is earlier than another one, or the same, for certain."""
    return one == other or not may_precede(other, one)


def in_time(sessions: Iterable[str]) -> list[str]:
    """Sessions sorted by time; empty where their ids do not say which one is earlier."""
    distinct = set(sessions)
    known = ((found != _ENTRY, found, session) for session in distinct if (found := when(session)) is not None)
    ordered = [session for *_, session in sorted(known)]
    certain = len(ordered) == len(distinct) and all(precedes(a, b) for a, b in pairwise(ordered))
    return ordered if certain else []


def older(baseline: float, session: str) -> float:
    """The age at a session whose id tells the months, else that at baseline."""
    return round(baseline + (months(session) or 0) / 12, 2)
