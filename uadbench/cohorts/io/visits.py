"""Assignment of values in tables to visits: diagnosis, age, MMSE and other properties of participants.

- A value in a table of visits (a table with session ids) applies to that visit only.
- A value in a baseline column (`diagnosis_bl`, `age_sc`, ...) applies to the baseline visit, in any table.
- A value in a table of participants (a table without session ids) applies to all visits if it does not change (sex,
  site), or if no table contains values of it (diagnosis, scanner, amyloid status) by visit; otherwise it applies to the
  baseline visit. MMSE changes between visits, so it applies to the baseline visit, or to a participant's only visit.
- Age is an exception, because it changes predictably: if a visit has no age, it is the age at baseline plus the months
  in the session id.

A visit with a scan to which no value applies has an unknown value. The guide `docs/guides/your-scans.md` explains the
same rules to users.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import pandas as pd

from uadbench.cohorts.base import COLUMNS, KEY, NUMBERS
from uadbench.cohorts.findings import Finding, report
from uadbench.cohorts.io.clinical_tables import ALIASES, Columns, Unclear, Unusable, complete, is_known, value_of
from uadbench.cohorts.io.sessions import BASELINE, baseline_of, months, numbered_from, older

ALWAYS, FIRST = "", "baseline"
"""Placeholders for a session (neither is valid, see `sessions.canonical`): for values of a participant, and for
baseline values."""

CONSTANT, SELDOM = ("sex", "site"), ("group", "scanner", "amyloid")
"""Properties that do not change between visits, and properties that apply to all visits of a participant unless a table
contains them by visit."""

SHOWN = 3
"""The number of scans to name in a message."""

Key = tuple[str, str]


class Cell(NamedTuple):
    """A value in a table.

    Attributes:
        text: The text of the cell.
        column: The name of the column.
        file: The table.
        line: The line number.
    """

    text: str
    column: str
    file: Path
    line: int


@dataclass
class Records:
    """The content of a cohort's tables about participants and visits.

    Rows are added table by table, in order of increasing priority: later values override earlier ones. Cells are parsed
    when they are used, so that an error in the row of a participant without a scan does not affect the cohort.

    Attributes:
        people: The participants with a row, in the order of the tables.
    """

    _cells: dict[Key, dict[str, list[Cell]]] = field(default_factory=lambda: defaultdict(dict))
    people: dict[str, None] = field(default_factory=dict)

    def add(self, file: Path, line: int, key: Key, row: Mapping[str, str], columns: Columns) -> None:
        """Add a row of a table.

        Args:
            file: The table.
            line: The line number.
            key: The participant and session; the session is ALWAYS in a table of participants.
            row: The cells by column.
            columns: The columns to use.
        """
        self.people[key[0]] = None
        for where, names in ((key, columns.current), ((key[0], FIRST), columns.baseline)):
            for ours, name in names.items():
                if is_known(row[name]):
                    cells = self._cells[where].setdefault(ours, [])
                    cells[:] = [cell for cell in cells if cell.file == file]  # several rows of one table may disagree
                    cells.append(Cell(row[name], name, file, line))

    def resolved(self, keys: Iterable[Key]) -> pd.DataFrame:
        """Determine the values of scans.

        Args:
            keys: The participant and session of each scan.

        Returns:
            The cohort's table (`base.COLUMNS`), in the order of the keys.

        Raises:
            ScanError: If a cell cannot be parsed or rows of a visit disagree (see `findings.report`).
        """
        keys = list(keys)
        sessions: dict[str, set[str]] = defaultdict(set)
        for participant, session in [*keys, *self._visits()]:
            sessions[participant].add(session)
        everywhere = [*CONSTANT, *(ours for ours in SELDOM if ours not in self._by_visit())]
        lowest = numbered_from(session for visits in sessions.values() for session in visits)
        rows = []
        for key in keys:
            alone = len(sessions[key[0]]) == 1
            first = key[1] == baseline_of(sessions[key[0]], lowest)
            applicable = self._applicable(key, everywhere, first, alone)
            values = {ours: value for ours, cells in applicable if (value := _read(key, ours, cells)) is not None}
            if "age" not in values and (age := self._age(key, first, alone)) is not None:
                values["age"] = age
            if first:
                self._compare_with_baseline(key)
            rows.append((*key, *complete(values)))
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))

    def diagnoses(self) -> pd.DataFrame:
        """List the diagnoses of all visits, including those without a scan.

        A diagnosis in a table of participants counts as that at baseline if another table contains diagnoses by visit;
        otherwise it does not belong to a visit and is left out.

        Returns:
            A DataFrame with participant_id, session_id and group.
        """
        at_baseline = (FIRST, ALWAYS) if "group" in self._by_visit() else (FIRST,)
        rows = {
            (participant, BASELINE if session in at_baseline else session, cell.text): None
            for (participant, session), cells in self._cells.items()
            if session != ALWAYS or ALWAYS in at_baseline
            for cell in cells.get("group", [])
        }
        return pd.DataFrame(list(rows), columns=[*KEY, "group"], dtype=object)

    def _by_visit(self) -> set[str]:
        """The columns (`base.COLUMNS`) for which a table contains values by visit."""
        return {ours for key in self._visits() for ours in self._cells[key]}

    def _visits(self) -> list[Key]:
        return [key for key in self._cells if key[1] not in (ALWAYS, FIRST)]

    def _at(self, participant: str, when: str) -> dict[str, list[Cell]]:
        return self._cells.get((participant, when), {})

    def _applicable(
        self, key: Key, everywhere: Sequence[str], first: bool, alone: bool
    ) -> Iterator[tuple[str, list[Cell]]]:
        """Yield columns and the cells that apply to a visit; the age only if a table of visits contains it.

        `everywhere` lists columns that apply to all visits of a participant; `first` is whether this is the baseline;
        `alone` is whether the participant has no other visit.
        """
        own, baseline, person = (self._at(key[0], when) for when in (key[1], FIRST, ALWAYS))
        for ours in ALIASES:
            if ours in own:
                yield ours, own[ours]
            elif ours == "age":
                continue
            elif first and ours in baseline:
                yield ours, baseline[ours]
            elif ours in person and (first or ours in everywhere or (alone and ours not in SELDOM)):
                yield ours, person[ours]

    def _compare_with_baseline(self, key: Key) -> None:
        """Warn if the diagnosis of a baseline visit differs from that in a baseline column, or of the participant."""
        own = self._at(*key).get("group")
        baseline = self._at(key[0], FIRST).get("group") or self._at(key[0], ALWAYS).get("group")
        if own and baseline and not _same("group", own[-1].text, baseline[-1].text):
            value = f"{own[-1].column} is '{own[-1].text}', but {baseline[-1].column} is '{baseline[-1].text}'"
            advice = "that of the visit is used; correct one of them"
            report(Finding("two diagnoses", " ".join(key), value, advice, fatal=False))

    def _age(self, key: Key, first: bool, alone: bool) -> float | None:
        """The age at baseline plus the time since then; None if one of them is unknown."""
        baseline, person = (self._at(key[0], when).get("age") for when in (FIRST, ALWAYS))
        cells = baseline or person
        dated = first or months(key[1]) is not None
        if not cells or not (dated or (alone and not baseline)):
            return None
        value = _read(key, "age", cells)
        return None if value is None else older(float(value), key[1])


def _read(key: Key, ours: str, cells: list[Cell]) -> str | float | None:
    """The value of cells that should agree; None if it counts as unknown."""
    last = cells[-1]
    if differing := next((cell for cell in cells if not _same(ours, cell.text, last.text)), None):
        value = f"{' '.join(key)} has {last.column} '{differing.text}' (line {differing.line}) and '{last.text}' (line "
        report(Finding("table", str(last.file), f"{value}{last.line})", "keep one row"))
        return None
    try:
        return value_of(ours, last.text)
    except Unusable as error:
        value = f"line {last.line}: {key[0]} has {last.column} '{last.text}'"
        report(Finding("table", str(last.file), value, str(error)))
    except Unclear as error:
        value = f"{last.column} is '{last.text}' in {last.file.name}, line {last.line}"
        report(Finding(ours, " ".join(key), value, str(error), fatal=False))
    return None


def _same(ours: str, one: str, other: str) -> bool:
    """Whether two cells have the same value, such as CN and cn, or 70 and 70.0."""
    try:
        return value_of(ours, one.lower()) == value_of(ours, other.lower())
    except ValueError:
        return one.lower() == other.lower()


def report_spellings(where: Path, participants: Iterable[str]) -> None:
    """Report identifiers that seem to be two spellings of one, such as 0001 and 1.

    Such a participant could be in both the training and the test set. Identifiers are shown in ASCII, because
    characters with several Unicode forms, such as ä, look the same.

    Args:
        where: The table or tree, for the message.
        participants: The identifiers.

    Raises:
        ScanError: If there are such identifiers (see `findings.report`).
    """
    by_form: dict[str, str] = {}
    for name in participants:
        plain = normalize("NFKC", normalize("NFKC", name).casefold()).removeprefix("sub-")
        other = by_form.setdefault(plain.lstrip("0") if plain.isdecimal() else plain, name)
        if other != name:
            value = f"{other!a} and {name!a} seem to be the same participant"
            report(Finding("two spellings", str(where), value, "use one spelling for each id"))


def count_scans(some: pd.DataFrame, table: pd.DataFrame) -> str:
    """Describe how many scans of a table are affected, and name the first few.

    Args:
        some: The affected rows.
        table: All rows.

    Returns:
        The text.
    """
    named = [f"{row.participant_id} {row.session_id}" for row in some.head(SHOWN).itertuples()]
    return f"{len(some)} of {len(table)} scans ({', '.join(named)}{', ...' if len(some) > SHOWN else ''})"
