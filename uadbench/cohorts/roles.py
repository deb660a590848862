"""Who counts as healthy and who as a patient: read from the diagnosis, and counted before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uadbench.errors import InputError
from uadbench.plurals import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Roles:
    """The diagnoses of healthy participants and of patients; capital letters or not is all the same."""

    healthy: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        both = {name.lower() for name in self.healthy} & {name.lower() for name in self.patients}
        if both:
            raise InputError(f"diagnosis '{min(both)}' cannot be healthy and a patient's; give it to one")

    def healthy_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The healthy scans. Raises InputError, listing the diagnoses there are, if there is none."""
        rows = _of(table, self.healthy)
        if rows.empty:
            present = ", ".join(f"{name or 'none'} ({n})" for name, n in _counts(table).items())
            wanted = ", ".join(self.healthy)
            raise InputError(f"no scan has the diagnosis {wanted}; there are: {present}; choose with --healthy NAME")
        return rows

    def patient_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Scans of patients who were never among the healthy: a model may have learnt from an earlier scan."""
        healthy = set(_of(table, self.healthy)["participant_id"])
        rows = _of(table, self.patients)
        return rows[~rows["participant_id"].isin(list(healthy))]

    def counted(self, table: pd.DataFrame) -> str:
        """Every diagnosis with its participants, scans and role, in one line."""
        told = []
        for name, scans in _counts(table).items():
            people = table.loc[table["group"] == name, "participant_id"].nunique()
            role = next(
                (r for r, names in (("healthy", self.healthy), ("patients", self.patients)) if _is(name, names)), ""
            )
            of_them = f"{counted(people, 'participant')}, {counted(scans, 'scan')}"
            told.append(f"{name or 'no diagnosis'} {of_them} ({role or 'not used'})")
        return "; ".join(told)


def _is(name: str, names: tuple[str, ...]) -> bool:
    return name.lower() in {each.lower() for each in names}


def _of(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return table[table["group"].str.lower().isin([name.lower() for name in names])]


def _counts(table: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(n) for name, n in table["group"].value_counts().items()}
