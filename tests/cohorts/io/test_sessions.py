"""Session ids: one spelling for the same visit, and ids that say nothing left as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.cohorts.io.sessions import BASELINE, canonical, months, older


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((text, BASELINE) for text in ("M0", "M00", "M000", "m00", "ses-M0", "ses-M00", "ses-M000", "SES-m000")),
        *((text, BASELINE) for text in ("bl", "BL", "baseline", "ses-bl", "ses-Baseline", "", "  ", " M00 ")),
        *((text, "ses-M006") for text in ("M6", "M06", "m006", "ses-M6", "ses-M06", " ses-M006\t")),
        ("M120", "ses-M120"),
        ("ses-M1200", "ses-M1200"),
        *(
            (text, text)
            for text in ("ses-20150317", "ses-1", "12", "sc", "ses-M", "M", "ses-M12b", "xM12", "M 12", "M-6")
        ),
    ],
)
def test_one_spelling(written, expected):
    assert canonical(written) == expected
    assert canonical(expected) == expected


@given(st.integers(0, 999), st.sampled_from(["", "ses-", "SES-"]), st.sampled_from("mM"), st.integers(1, 3))
def test_every_month_is_found_and_sessions_sort_by_month(month, prefix, letter, width):
    written = f"{prefix}{letter}{month:0{width}d}"
    assert months(written) == month
    assert (canonical(written) < canonical("M500")) == (month < 500)


@given(st.text(max_size=12))
def test_what_is_canonical_stays(text):
    once = canonical(text)
    assert canonical(once) == once and once == once.strip() != ""
    assert months(text) == months(once)


@pytest.mark.parametrize("session", ["ses-20150317", "ses-1", "sc", "M12345"])
def test_an_id_without_a_month(session):
    assert months(session) is None and older(70.4, session) == 70.4


@pytest.mark.parametrize(("session", "age"), [("bl", 70.4), ("M6", 70.9), ("ses-M012", 71.4), ("ses-M005", 70.82)])
def test_people_age_between_sessions(session, age):
    assert older(70.4, session) == age
