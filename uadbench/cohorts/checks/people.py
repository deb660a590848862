"""What is wrong with a cohort's table: who has no age or sex, ages that cannot be, sessions out of order."""

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
"""Beyond these an age is a slip of the pen (or a year of birth)."""

FAR = 5.0
"""Robust standard deviations from the median age beyond which it is told."""

DRIFT_YEARS = 1.0
"""By so much the years between two sessions may differ from the months in their names."""


STAGES = {
    name: stage
    for stage, names in enumerate(("cn nl nc hc", "smc scd", "emci mci lmci", "ad dementia"))
    for name in names.split()
}
"""Diagnoses in the order in which the disease takes them."""


def people_findings(table: pd.DataFrame, visits: pd.DataFrame, roles: Roles) -> Iterator[Finding]:
    """Everything that the tables themselves show.

    None of it spoils a run by itself, except that nobody is healthy. `visits` holds every known diagnosis.
    """
    try:
        roles.healthy_rows(table, visits)
    except InputError:
        value = f"no scan is healthy ({', '.join(roles.healthy)}); there are: {roles.counted(table)}"
        yield Finding("nobody healthy", "diagnosis", value, "choose with --healthy NAME")
    yield from _changes(visits, roles)
    yield from _missing(table)
    yield from _ages(table)
    for name, rows in table.groupby("participant_id", sort=True):
        if rows["sex"].replace("", np.nan).nunique() > 1:
            value = f"sex is {' and '.join(sorted({*rows['sex']} - {''}))}"
            yield Finding("sex", str(name), value, "mend the table", False)
        yield from _sessions(str(name), rows)


def _changes(visits: pd.DataFrame, roles: Roles) -> Iterator[Finding]:
    """People whose diagnosis changes from healthy to another, or backwards."""
    healthy = [name.lower() for name in roles.healthy]
    for name, rows in visits[visits["group"] != ""].groupby("participant_id", sort=True):
        known: dict[str, str] = dict(zip(rows["session_id"], rows["group"], strict=True))
        ordered = [(session, known[session]) for session in in_time(known)]
        mixed = {group.lower() in healthy for group in known.values()} == {True, False}
        if not ordered and mixed:
            course = ", ".join(f"{group} at {session}" for session, group in known.items())
            advice = "healthy scans that may follow another diagnosis are left out; use session ids that give the order"
            yield Finding("order unknown", str(name), course, advice, False)
        course = ", ".join(f"{group} at {session}" for session, group in ordered)
        groups = [group.lower() for _, group in ordered]
        if any(_improves(one, other, healthy) for one, other in pairwise(groups)):
            advice = "healthy diagnoses after another one are left out; check the tables"
            yield Finding("diagnosis improves", str(name), course, advice, False)
        elif any(one in healthy and other not in healthy for one, other in pairwise(groups)):
            advice = "scans keep the diagnosis of their own visit, those before the conversion are healthy"
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
    known = table["age"].dropna()
    if known.empty:
        return
    centre = float(known.median())
    spread = 1.4826 * float((known - centre).abs().median())
    for row in table[table["age"].notna()].itertuples():
        age = float(str(row.age))
        impossible = not AGES[0] <= age <= AGES[1]
        if impossible or (spread > 0 and abs(age - centre) > FAR * spread):
            value = f"age is {age:g}; the cohort's median is {centre:g}"
            yield Finding("age", f"{row.participant_id} {row.session_id}", value, "check it in the table", False)


def _sessions(name: str, rows: pd.DataFrame) -> Iterator[Finding]:
    """Sessions whose months and ages contradict each other."""
    ages = {str(row.session_id): float(str(row.age)) for row in rows.itertuples() if not np.isnan(float(str(row.age)))}
    for session, last in pairwise(in_time(ages)):
        age, older, passed = ages[session], ages[last], years_between(session, last)
        if older < age or (passed is not None and abs(older - age - passed) > DRIFT_YEARS):
            apart = "time" if passed is None else f"{passed:.1f} years"
            value = f"from {session} to {last}, {apart} passes, but the ages are {age:g} and {older:g}"
            yield Finding("sessions", name, value, "sessions out of order, or a wrong age: mend the table", False)
