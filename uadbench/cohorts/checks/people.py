"""Checks of a cohort's table: missing age or sex, implausible ages, changing diagnoses, sessions out of order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from uadbench.cohorts.findings import Finding
from uadbench.cohorts.io.sessions import in_time, years_between
from uadbench.cohorts.splits.roles import Roles
from uadbench.errors import InputError

AGES = (18.0, 105.0)
"""The range of plausible ages; other values are typing errors (or years of birth)."""

FAR = 5.0
"""The number of robust standard deviations from the median beyond which an age is reported."""

DRIFT_YEARS = 1.0
"""The largest allowed difference, in years, between the change of age and the time between two sessions."""


STAGES = {
    name: stage
    for stage, names in enumerate(("cn nl nc hc", "smc scd", "emci mci lmci", "ad dementia"))
    for name in names.split()
}
"""The stage of each diagnosis in the course of the disease."""


def people_findings(table: pd.DataFrame, visits: pd.DataFrame, roles: Roles) -> Iterator[Finding]:
    """Find the problems of a cohort's tables; only the absence of healthy scans is fatal.

    Args:
        table: The table of scans (`base.COLUMNS`).
        visits: All known diagnoses, with participant_id, session_id and group.
        roles: The diagnoses of healthy participants and of patients.

    Yields:
        The problems.
    """
    try:
        roles.healthy_rows(table, visits)
    except InputError:
        value = f"no scan is healthy ({', '.join(roles.healthy)}); the diagnoses are: {roles.counted(table)}"
        yield Finding("no healthy scans", "diagnosis", value, "choose with --healthy NAME")
    yield from _changes(visits, roles)
    yield from _missing(table)
    yield from _ages(table)
    for name, rows in table.groupby("participant_id", sort=True):
        if rows["sex"].replace("", np.nan).nunique() > 1:
            value = f"sex is {' and '.join(sorted({*rows['sex']} - {''}))}"
            yield Finding("sex", str(name), value, "correct the table", False)
        yield from _sessions(str(name), rows)


def _changes(visits: pd.DataFrame, roles: Roles) -> Iterator[Finding]:
    """Participants whose diagnosis changes from healthy to another one, or improves."""
    healthy = [name.lower() for name in roles.healthy]
    for name, rows in visits[visits["group"] != ""].groupby("participant_id", sort=True):
        diagnoses: dict[str, str] = dict(zip(rows["session_id"], rows["group"], strict=True))
        ordered = [(session, diagnoses[session]) for session in in_time(diagnoses)]
        mixed = {group.lower() in healthy for group in diagnoses.values()} == {True, False}
        if not ordered and mixed:
            course = ", ".join(f"{group} at {session}" for session, group in diagnoses.items())
            advice = "healthy scans that may follow another diagnosis are left out; use session ids that show the order"
            yield Finding("order unknown", str(name), course, advice, False)
        course = ", ".join(f"{group} at {session}" for session, group in ordered)
        groups = [group.lower() for _, group in ordered]
        if any(_improves(one, other, healthy) for one, other in pairwise(groups)):
            advice = "healthy scans after another diagnosis are left out; check the tables"
            yield Finding("diagnosis improves", str(name), course, advice, False)
        elif any(one in healthy and other not in healthy for one, other in pairwise(groups)):
            advice = "each scan has the diagnosis of its visit; those before the conversion are healthy"
            yield Finding("converts", str(name), course, advice, False)


def _improves(one: str, other: str, healthy: list[str]) -> bool:
    if one in STAGES and other in STAGES and STAGES[other] < STAGES[one]:
        return True
    return one not in healthy and other in healthy


def _missing(table: pd.DataFrame) -> Iterator[Finding]:
    advice = "fill it in: splits are stratified by age and sex, and some models regress them out"
    for column, unknown in (("age", table["age"].isna()), ("sex", table["sex"] == "")):
        for row in table[unknown].itertuples():
            yield Finding(
                f"no {column}", f"{row.participant_id} {row.session_id}", f"{column} is missing", advice, False
            )


def _ages(table: pd.DataFrame) -> Iterator[Finding]:
    ages = table["age"].dropna()
    if ages.empty:
        return
    centre = float(ages.median())
    spread = 1.4826 * float((ages - centre).abs().median())
    for row in table[table["age"].notna()].itertuples():
        age = float(str(row.age))
        impossible = not AGES[0] <= age <= AGES[1]
        if impossible or (spread > 0 and abs(age - centre) > FAR * spread):
            value = f"age is {age:g}; the cohort's median is {centre:g}"
            yield Finding("age", f"{row.participant_id} {row.session_id}", value, "check it in the table", False)


def _sessions(name: str, rows: pd.DataFrame) -> Iterator[Finding]:
    """Sessions whose identifiers and ages contradict each other."""
    ages = {str(row.session_id): float(str(row.age)) for row in rows.itertuples() if not np.isnan(float(str(row.age)))}
    for session, last in pairwise(in_time(ages)):
        age, older, passed = ages[session], ages[last], years_between(session, last)
        if older < age or (passed is not None and abs(older - age - passed) > DRIFT_YEARS):
            apart = "time" if passed is None else f"{passed:.1f} years"
            value = f"{apart} passed from {session} to {last}, but the ages are {age:g} and {older:g}"
            advice = "the sessions are out of order, or an age is wrong; correct the table"
            yield Finding("sessions", name, value, advice, False)
