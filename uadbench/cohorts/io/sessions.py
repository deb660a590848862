"""Session identifiers: conversion to one form (M0, ses-M00 and bl are ses-M000), and their order in time."""

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
    """Convert a session identifier to the form of Clinica, `ses-M` with three digits, which sorts by month.

    Args:
        session: The identifier; "bl" and "" are the baseline.

    Returns:
        The converted identifier, such as ses-M000; an identifier without a month is unchanged.
    """
    text = session.strip()
    if text.lower() in _FIRST:
        return BASELINE
    match = _MONTH.fullmatch(text)
    return f"ses-M{int(match.group(1)):03d}" if match else text


def months(session: str) -> int | None:
    """The months since baseline.

    Args:
        session: The session identifier.

    Returns:
        The months; None for an identifier without them, such as a date or a number.
    """
    match = _MONTH.fullmatch(canonical(session))
    return int(match.group(1)) if match else None


class When(NamedTuple):
    """The time in a session identifier; values on the same scale can be compared.

    Attributes:
        scale: The scale.
        value: The value on this scale.
    """

    scale: Literal["months", "days", "date", "number"]
    value: int


_ENTRY = When("months", 0)


def when(session: str) -> When | None:
    """Read the time in a session identifier.

    Supported are months (M012), days since entry (d0423, as in OASIS), dates that begin with the year (20190312,
    2019-03-12), and session numbers (01, at most four digits).

    Args:
        session: The session identifier.

    Returns:
        The time; None if the identifier does not contain it unambiguously.
    """
    if (since := months(session)) is not None:
        return When("months", since)
    text = session.strip().lower().removeprefix("ses-")
    if match := _DATE.fullmatch(text):
        with suppress(ValueError):
            return When("date", date(*map(int, match.groups())).toordinal())
    if match := _DAYS.fullmatch(text):
        return When("days", int(match.group(1)))
    return When("number", int(text)) if _NUMBER.fullmatch(text) else None


def years_between(one: str, other: str) -> float | None:
    """The time from one session to another.

    Args:
        one: The identifier of the first session.
        other: The identifier of the second session.

    Returns:
        The years; None if the identifiers do not contain comparable times.
    """
    first, second = when(one), when(other)
    if first is None or second is None or first.scale != second.scale or first.scale == "number":
        return None
    return (second.value - first.value) / (12 if first.scale == "months" else 365.25)


def baseline_of(sessions: Iterable[str], first: int = 1) -> str:
    """The baseline session of a participant.

    Args:
        sessions: The sessions of the participant.
        first: The number of the first session, if sessions are numbered.

    Returns:
        ses-M000, or the session with the number `first`; "" if there is neither.
    """
    distinct = sorted({canonical(session) for session in sessions})
    numbered = [session for session in distinct if when(session) == ("number", first)]
    return BASELINE if BASELINE in distinct else numbered[0] if numbered else ""


def numbered_from(sessions: Iterable[str]) -> int:
    """The number of the first session in a cohort with numbered sessions.

    Args:
        sessions: All sessions of the cohort.

    Returns:
        0 if a session has that number, otherwise 1.
    """
    return 0 if any(when(session) == ("number", 0) for session in sessions) else 1


def may_precede(one: str, other: str) -> bool:
    """Whether a session may be earlier than another one, or at the same time.

    Args:
        one: The identifier of a session.
        other: The identifier of another session; no session precedes ses-M000.

    Returns:
        True also if the identifiers do not contain comparable times.
    """
    first, second = when(one), when(other)
    if first is None or second is None:
        return True
    return first.value <= second.value if first.scale == second.scale else second != _ENTRY


def precedes(one: str, other: str) -> bool:
    """Whether a session is certainly earlier than another one, or the same.

    Args:
        one: The identifier of a session.
        other: The identifier of another session.

    Returns:
        False also if the identifiers do not contain comparable times.
    """
    return one == other or not may_precede(other, one)


def in_time(sessions: Iterable[str]) -> list[str]:
    """Sort sessions by time.

    Args:
        sessions: The sessions of a participant.

    Returns:
        The distinct sessions in order; empty if the identifiers do not determine the order.
    """
    distinct = set(sessions)
    dated = ((time != _ENTRY, time, session) for session in distinct if (time := when(session)) is not None)
    ordered = [session for *_, session in sorted(dated)]
    certain = len(ordered) == len(distinct) and all(precedes(a, b) for a, b in pairwise(ordered))
    return ordered if certain else []


def older(baseline: float, session: str) -> float:
    """The age at a session.

    Args:
        baseline: The age at baseline, in years.
        session: The session identifier.

    Returns:
        The age in years; that at baseline if the identifier contains no months.
    """
    return round(baseline + (months(session) or 0) / 12, 2)
