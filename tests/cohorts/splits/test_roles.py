"""Roles: who is healthy, who is a patient, and that nobody is both."""

from __future__ import annotations

import pandas as pd
import pytest

from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.splits.roles import Roles
from uadbench.errors import InputError


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """(participant, month, diagnosis) as a cohort's table."""
    found = [(f"sub-{who}", f"ses-M{month}", group, 70.0, "F", "", "", "", 29.0) for who, month, group in rows]
    return pd.DataFrame(found, columns=list(COLUMNS))


PEOPLE = table(
    ("a", "000", "CN"),
    ("a", "012", "CN"),
    ("b", "000", "cn"),
    ("c", "000", "SMC"),
    ("d", "000", "AD"),
    ("d", "012", "AD"),
    ("e", "000", "CN"),
    ("e", "024", "AD"),
    ("f", "000", "MCI"),
    ("f", "012", "AD"),
    ("g", "000", ""),
)


def keys(rows: pd.DataFrame) -> list[str]:
    return [f"{who[4:]}{session[5:]}" for who, session in zip(rows.participant_id, rows.session_id, strict=True)]


def test_who_is_healthy_and_who_is_not():
    roles = Roles(("CN",), ("AD",))
    assert keys(roles.healthy_rows(PEOPLE)) == ["a000", "a012", "b000", "e000"]
    assert keys(roles.patient_rows(PEOPLE)) == ["d000", "d012", "f012"], "e was healthy once"


def test_several_diagnoses_in_any_letters():
    roles = Roles(("Cn", "smc"), ("ad", "MCI"))
    assert keys(roles.healthy_rows(PEOPLE)) == ["a000", "a012", "b000", "c000", "e000"]
    assert keys(roles.patient_rows(PEOPLE)) == ["d000", "d012", "f000", "f012"]


def test_who_was_ill_and_then_healthy_is_no_patient():
    back = table(("a", "000", "MCI"), ("a", "012", "CN"), ("b", "000", "MCI"))
    assert keys(Roles(("CN",), ("MCI",)).patient_rows(back)) == ["b000"]


def test_there_may_be_no_patients():
    for table_of in (PEOPLE, PEOPLE[PEOPLE.group == "CN"]):
        assert keys(Roles(("CN",), ("FTD",)).patient_rows(table_of)) == []


def test_nobody_healthy_lists_what_there_is():
    expected = r"diagnosis HC, NC; there are: (?=.*CN \(4\))(?=.*AD \(4\))(?=.*none \(1\)).*--healthy"
    with pytest.raises(InputError, match=expected):
        Roles(("HC", "NC"), ("AD",)).healthy_rows(PEOPLE)


def test_one_diagnosis_cannot_be_both():
    with pytest.raises(InputError, match="diagnosis 'mci'"):
        Roles(("CN", "MCI"), ("AD", "mci"))


def test_everybody_is_counted():
    told = Roles(("CN",), ("AD",)).counted(PEOPLE)
    assert "\n" not in told and len(told.split("; ")) == 5
    for words in (
        "CN 3 participants, 4 scans (healthy)",
        "AD 3 participants, 4 scans (patients)",
        "MCI 1 participant, 1 scan (not used)",
        "no diagnosis 1 participant, 1 scan (not used)",
    ):
        assert words in told.split("; "), words
