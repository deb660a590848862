"""Roles: the selection of healthy scans and of patients' scans by diagnosis, and their counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from uadbench.cohorts.io.sessions import may_precede, precedes
from uadbench.errors import InputError
from uadbench.runtime.plurals import counted


@dataclass(frozen=True)
class Roles:
    """The diagnoses of healthy participants and of patients; case is ignored.

    Attributes:
        healthy: The diagnoses of healthy participants.
        patients: The diagnoses of patients.

    Raises:
        InputError: If a diagnosis has both roles.
    """

    healthy: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        both = {name.lower() for name in self.healthy} & {name.lower() for name in self.patients}
        if both:
            raise InputError(f"diagnosis '{min(both)}' is given for both healthy participants and patients; choose one")

    def healthy_rows(self, table: pd.DataFrame, visits: pd.DataFrame | None = None) -> pd.DataFrame:
        """Select the healthy scans: those with a healthy diagnosis and no other diagnosis at an earlier visit.

        Args:
            table: The table of scans (`base.COLUMNS`).
            visits: All known diagnoses, with participant_id, session_id and group; by default those of the scans.

        Returns:
            The rows of healthy scans.

        Raises:
            InputError: If there are none; the message lists the existing diagnoses.
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
        """Select the scans of patients who have no healthy scan, from which a model could have been trained.

        Args:
            table: The table of scans (`base.COLUMNS`).

        Returns:
            The rows of patients' scans.
        """
        healthy = set(_of(table, self.healthy)["participant_id"])
        rows = _of(table, self.patients)
        return rows[~rows["participant_id"].isin(list(healthy))]

    def counted(self, table: pd.DataFrame) -> str:
        """Describe each diagnosis with its participants, scans and role.

        Args:
            table: The table of scans (`base.COLUMNS`).

        Returns:
            One line.
        """
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
        """Describe the scans that are left out although their diagnosis is used, or because it is missing.

        Args:
            table: The table of scans (`base.COLUMNS`).
            visits: All known diagnoses; by default those of the scans.

        Returns:
            One line for each reason.
        """
        diagnoses = table if visits is None else visits
        called = _of(table, self.healthy)
        reverted = called[self._relapsed(called, diagnoses)]
        certain = self._relapsed(reverted, diagnoses, precedes)
        without = table[table["group"] == ""]
        converted = without[self._relapsed(without, diagnoses)]
        patients = _of(table, self.patients)
        before = patients[~patients["participant_id"].isin(list(self.patient_rows(table)["participant_id"]))]
        lines = []
        if len(without):
            also = f", of which {len(converted)} follow another diagnosis" if len(converted) else ""
            lines.append(f"left out: {_named(without)} without a diagnosis at the visit{also}")
        if certain.any():
            lines.append(f"left out: {_named(reverted[certain])} with a healthy diagnosis after another diagnosis")
        if not certain.all():
            why = "with a healthy diagnosis, whose session ids do not show whether another diagnosis was earlier"
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
        """Whether each row follows, or may follow, a visit of the participant with a diagnosis that is not healthy."""
        other = visits[(visits["group"] != "") & ~visits["group"].str.lower().isin([n.lower() for n in self.healthy])]
        sessions: dict[str, list[str]] = {}
        for person, session in zip(other["participant_id"], other["session_id"], strict=True):
            sessions.setdefault(person, []).append(session)
        keys = zip(rows["participant_id"], rows["session_id"], strict=True)
        relapsed = [any(before(visit, own) for visit in sessions.get(person, [])) for person, own in keys]
        return pd.Series(relapsed, index=rows.index, dtype=bool)


def _is(name: str, names: tuple[str, ...]) -> bool:
    return name.lower() in {each.lower() for each in names}


def _of(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return table[table["group"].str.lower().isin([name.lower() for name in names])]


def _counts(table: pd.DataFrame) -> dict[str, int]:
    """The number of scans by diagnosis, in its most frequent spelling."""
    counts: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for name, n in table["group"].value_counts().items():
        shown = spelled.setdefault(str(name).lower(), str(name))
        counts[shown] = counts.get(shown, 0) + int(n)
    return counts


def _named(rows: pd.DataFrame) -> str:
    """Describe the number of scans and participants, and name the first scan."""
    first = " ".join(rows.iloc[0][["participant_id", "session_id"]])
    more = ", ..." if len(rows) > 1 else ""
    people = counted(rows["participant_id"].nunique(), "participant")
    return f"{counted(len(rows), 'scan')} of {people} ({first}{more})"
