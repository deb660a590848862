"""Who counts as healthy and who as a patient: read from the diagnosis, and counted before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from uadbench.cohorts.io.sessions import may_precede, precedes
from uadbench.errors import InputError
from uadbench.runtime.plurals import counted


@dataclass(frozen=True)
class Roles:
    """The diagnoses of healthy participants and of patients; capital letters or not is all the same."""

    healthy: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        both = {name.lower() for name in self.healthy} & {name.lower() for name in self.patients}
        if both:
            raise InputError(f"diagnosis '{min(both)}' cannot be healthy and a patient's; give it to one")

    def healthy_rows(self, table: pd.DataFrame, visits: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the healthy scans: those with a healthy diagnosis and no other diagnosis at an earlier visit.

        Args:
            table: one row a scan (`base.COLUMNS`).
            visits: every known diagnosis, with participant_id, session_id and group; by default those of the scans.

        Raises:
            InputError: if there is none, with the diagnoses there are.
        """
        called = _of(table, self.healthy)
        rows = called[~self._relapsed(called, table if visits is None else visits)]
        if rows.empty:
            counts = _counts(table)
            present = ", ".join(f"{name or 'none'} ({n})" for name, n in counts.items())
            codes = "; numbers are codes of your table" if any(name.isdecimal() for name in counts) else ""
            after = f" ({len(called)} follow another diagnosis)" if len(called) else ""
            raise InputError(
                f"no scan has the diagnosis {', '.join(self.healthy)}{after}; there are: {present}; choose with "
                f"--healthy NAME{codes}"
            )
        return rows

    def patient_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Scans of patients who were never among the healthy: a model may have learnt from an earlier scan."""
        healthy = set(_of(table, self.healthy)["participant_id"])
        rows = _of(table, self.patients)
        return rows[~rows["participant_id"].isin(list(healthy))]

    def counted(self, table: pd.DataFrame) -> str:
        """Every diagnosis with its participants, scans and role, in one line."""
        parts = []
        for name, scans in _counts(table).items():
            people = _of(table, (name,))["participant_id"].nunique()
            role = next(
                (r for r, names in (("healthy", self.healthy), ("patients", self.patients)) if _is(name, names)), ""
            )
            of_them = f"{counted(people, 'participant')}, {counted(scans, 'scan')}"
            parts.append(f"{name or 'no diagnosis'} {of_them} ({role or 'not used'})")
        return "; ".join(parts)

    def left_out(self, table: pd.DataFrame, visits: pd.DataFrame | None = None) -> list[str]:
        """Which scans are left out though their diagnosis is wanted, or missing: a line for each reason."""
        known = table if visits is None else visits
        called = _of(table, self.healthy)
        reverted = called[self._relapsed(called, known)]
        certain = self._relapsed(reverted, known, precedes)
        without = table[table["group"] == ""]
        converted = without[self._relapsed(without, known)]
        patients = _of(table, self.patients)
        before = patients[~patients["participant_id"].isin(list(self.patient_rows(table)["participant_id"]))]
        lines = []
        if len(without):
            also = f", of which {len(converted)} follow another diagnosis" if len(converted) else ""
            lines.append(f"left out: {_named(without)} without a diagnosis at the visit{also}")
        if certain.any():
            lines.append(f"left out: {_named(reverted[certain])} with a healthy diagnosis after another diagnosis")
        if not certain.all():
            why = "with a healthy diagnosis, where session ids do not say whether another diagnosis came first"
            lines.append(f"left out: {_named(reverted[~certain])} {why}")
        unused = ~table["group"].str.lower().isin(["", *(name.lower() for name in self.healthy)])
        if patients.empty and unused.any():
            lines.append(
                f"no patients: no scan has the diagnosis {', '.join(self.patients)}; choose with --patients NAME"
            )
        if len(before):
            lines.append(f"left out: {_named(before)} of patients who have a healthy diagnosis at another visit")
        return lines

    def _relapsed(
        self, rows: pd.DataFrame, visits: pd.DataFrame, before: Callable[[str, str], bool] = may_precede
    ) -> pd.Series:
        """Which rows follow a visit of the same person with a diagnosis that is not healthy, or may follow one."""
        other = visits[(visits["group"] != "") & ~visits["group"].str.lower().isin([n.lower() for n in self.healthy])]
        sessions: dict[str, list[str]] = {}
        for person, session in zip(other["participant_id"], other["session_id"], strict=True):
            sessions.setdefault(person, []).append(session)
        keys = zip(rows["participant_id"], rows["session_id"], strict=True)
        found = [any(before(visit, own) for visit in sessions.get(person, [])) for person, own in keys]
        return pd.Series(found, index=rows.index, dtype=bool)


def _is(name: str, names: tuple[str, ...]) -> bool:
    return name.lower() in {each.lower() for each in names}


def _of(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return table[table["group"].str.lower().isin([name.lower() for name in names])]


def _counts(table: pd.DataFrame) -> dict[str, int]:
    """Scans by diagnosis, in the spelling that most of them have."""
    counts: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for name, n in table["group"].value_counts().items():
        shown = spelled.setdefault(str(name).lower(), str(name))
        counts[shown] = counts.get(shown, 0) + int(n)
    return counts


def _named(rows: pd.DataFrame) -> str:
    """How many scans of how many people, with the first."""
    first = " ".join(rows.iloc[0][["participant_id", "session_id"]])
    more = ", ..." if len(rows) > 1 else ""
    people = counted(rows["participant_id"].nunique(), "participant")
    return f"{counted(len(rows), 'scan')} of {people} ({first}{more})"
