"""Which value holds at which visit: the one rule for diagnosis, age, MMSE and whatever else tables say about people.

- A value in a table of visits (one with session ids) holds at that visit, and at no other.
- A value in a baseline column (`diagnosis_bl`, `age_sc`, ...) holds at the baseline visit, whatever the table.
- A value in a table of people (one without session ids) holds at all visits, if it does not change (sex, site) or no
  table gives that value (diagnosis, scanner, amyloid status) by visit; otherwise at baseline. MMSE changes between
  visits: it holds at baseline, or at the only visit of a person who has one.
- Age is the exception, because it changes in a known way: without an age of the visit it is the age at baseline plus
  the months in the session id.

What holds at no visit with a scan is unknown there. The guide `docs/guides/your-scans.md` says the same for users.
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
from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.io.clinical_tables import ALIASES, Columns, Unclear, Unusable, complete, is_known, value_of
from uadbench.cohorts.io.sessions import BASELINE, baseline_of, months, numbered_from, older

ALWAYS, FIRST = "", "baseline"
"""Instead of a session (neither is one, see `sessions.canonical`): given once per person; given as a baseline value."""

CONSTANT, SELDOM = ("sex", "site"), ("group", "scanner", "amyloid")
"""What does not change between visits, and what holds at all visits of a person unless a table gives it by visit."""

SHOWN = 3
"""So many scans a message names."""

Key = tuple[str, str]


class Cell(NamedTuple):
    """A value as a table has it, and where."""

    text: str
    column: str
    file: Path
    line: int


@dataclass
class Records:
    """Everything that a cohort's tables say about people and visits.

    Rows are added table by table, the weakest table first: later values outweigh earlier ones. Cells are judged when
    they are used, so that a slip in the row of somebody without a scan refuses no cohort.
    """

    _cells: dict[Key, dict[str, list[Cell]]] = field(default_factory=lambda: defaultdict(dict))
    people: dict[str, None] = field(default_factory=dict)
    """The participants who have a row, in the order of the tables."""

    def add(self, file: Path, line: int, key: Key, row: Mapping[str, str], columns: Columns) -> None:
        """Take in a row of a table; `key` is (participant, session), the session ALWAYS in a table of people."""
        self.people[key[0]] = None
        for where, names in ((key, columns.current), ((key[0], FIRST), columns.baseline)):
            for ours, name in names.items():
                if is_known(row[name]):
                    cells = self._cells[where].setdefault(ours, [])
                    cells[:] = [cell for cell in cells if cell.file == file]  # several rows of one table may disagree
                    cells.append(Cell(row[name], name, file, line))

    def resolved(self, keys: Iterable[Key]) -> pd.DataFrame:
        """The cohort's table (`base.COLUMNS`) for these (participant, session) pairs, in their order.

        Raises:
            ScanError: (see `findings.tell`) for cells that cannot be read and for rows of a visit that disagree.
        """
        keys = list(keys)
        sessions: dict[str, set[str]] = defaultdict(set)
        for participant, session in [*keys, *self._visits()]:
            sessions[participant].add(session)
        everywhere = [*CONSTANT, *(ours for ours in SELDOM if ours not in self._by_visit())]
        lowest = numbered_from(session for known in sessions.values() for session in known)
        rows = []
        for key in keys:
            alone = len(sessions[key[0]]) == 1
            first = key[1] == baseline_of(sessions[key[0]], lowest)
            cells = self._holding(key, everywhere, first, alone)
            values = {ours: value for ours, found in cells if (value := _read(key, ours, found)) is not None}
            if "age" not in values and (age := self._age(key, first, alone)) is not None:
                values["age"] = age
            if first:
                self._compare_with_baseline(key)
            rows.append((*key, *complete(values)))
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))

    def diagnoses(self) -> pd.DataFrame:
        """Every diagnosis of a visit: participant_id, session_id, group; also of visits without a scan.

        A person's own diagnosis is that at baseline where a table gives diagnoses of visits, and of no visit elsewhere.
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
        """Our columns that a table gives by visit."""
        return {ours for key in self._visits() for ours in self._cells[key]}

    def _visits(self) -> list[Key]:
        return [key for key in self._cells if key[1] not in (ALWAYS, FIRST)]

    def _at(self, participant: str, when: str) -> dict[str, list[Cell]]:
        return self._cells.get((participant, when), {})

    def _holding(
        self, key: Key, everywhere: Sequence[str], first: bool, alone: bool
    ) -> Iterator[tuple[str, list[Cell]]]:
        """Our column and the cells that hold at a visit; the age only where a table of visits gives it.

        `everywhere`: what holds at all visits of a person; `first`: whether this is the baseline; `alone`: whether the
        person has no other visit.
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
        """Report a baseline visit whose diagnosis differs from that of a baseline column, or of the person."""
        own = self._at(*key).get("group")
        baseline = self._at(key[0], FIRST).get("group") or self._at(key[0], ALWAYS).get("group")
        if own and baseline and not _same("group", own[-1].text, baseline[-1].text):
            value = f"{own[-1].column} is '{own[-1].text}', and {baseline[-1].column} is '{baseline[-1].text}'"
            tell(Finding("two diagnoses", " ".join(key), value, "that of the visit is used; correct one", fatal=False))

    def _age(self, key: Key, first: bool, alone: bool) -> float | None:
        """The age at baseline plus the months since then; None where one of them is unknown."""
        baseline, person = (self._at(key[0], when).get("age") for when in (FIRST, ALWAYS))
        cells = baseline or person
        dated = first or months(key[1]) is not None
        if not cells or not (dated or (alone and not baseline)):
            return None
        value = _read(key, "age", cells)
        return None if value is None else older(float(value), key[1])


def _read(key: Key, ours: str, cells: list[Cell]) -> str | float | None:
    """The value of cells that should agree; None where it counts as unknown."""
    last = cells[-1]
    if differing := next((cell for cell in cells if not _same(ours, cell.text, last.text)), None):
        value = f"{' '.join(key)} has {last.column} '{differing.text}' (line {differing.line}) and '{last.text}' (line "
        tell(Finding("table", str(last.file), f"{value}{last.line})", "keep one row"))
        return None
    try:
        return value_of(ours, last.text)
    except Unusable as error:
        value = f"line {last.line}: {key[0]} has {last.column} '{last.text}'"
        tell(Finding("table", str(last.file), value, str(error)))
    except Unclear as error:
        value = f"{last.column} is '{last.text}' in {last.file.name}, line {last.line}"
        tell(Finding(ours, " ".join(key), value, str(error), fatal=False))
    return None


def _same(ours: str, one: str, other: str) -> bool:
    """Whether two cells say the same: CN and cn, 70 and 70.0."""
    try:
        return value_of(ours, one.lower()) == value_of(ours, other.lower())
    except ValueError:
        return one.lower() == other.lower()


def tell_spellings(where: Path, participants: Iterable[str]) -> None:
    """Report ids that seem to be one person's in two spellings, such as 0001 and 1: people would train and test.

    Letters that Unicode spells in two ways, such as ä in one sign or in two, look the same: ids are shown in ASCII.
    """
    known: dict[str, str] = {}
    for name in participants:
        plain = normalize("NFKC", normalize("NFKC", name).casefold()).removeprefix("sub-")
        other = known.setdefault(plain.lstrip("0") if plain.isdecimal() else plain, name)
        if other != name:
            value = f"{other!a} and {name!a} seem to be the same participant"
            tell(Finding("two spellings", str(where), value, "spell every id in one way"))


def count_scans(some: pd.DataFrame, table: pd.DataFrame) -> str:
    """How many scans of a table these are, with the first few of them."""
    named = [f"{row.participant_id} {row.session_id}" for row in some.head(SHOWN).itertuples()]
    return f"{len(some)} of {len(table)} scans ({', '.join(named)}{', ...' if len(some) > SHOWN else ''})"
