"""Who the people of a CAPS tree are: participants.tsv and sessions.tsv, laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.io.clinical_tables import Columns, columns_of, no_diagnoses
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.io.text_tables import read_table, rows_of
from uadbench.cohorts.io.visits import ALWAYS, Key, Records, count_scans, tell_spellings
from uadbench.errors import InputError

UNKNOWN = "n/a"
"""Instead of an empty session id in a table of visits."""

NEEDED = "the columns participant_id, session_id, diagnosis, age, sex"


def describe(tree: Path, keys: list[Key], chosen: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Describe the scans of a tree from its tables.

    These are `participants.tsv` and `sessions.tsv` in the tree's folder, and `sessions.tsv` and `<sub>_sessions.tsv` in
    `subjects/<sub>/`, the weakest first. Module `visits` says which value holds at which visit. A scan without a
    diagnosis stays in the table, with group "".

    Args:
        keys: (participant, session) of each scan.
        chosen: our column -> the name that the user gave; "" for none.

    Returns:
        The cohort's table (base.COLUMNS), one row for each key, and all diagnoses of visits (`Records.diagnoses`).

    Raises:
        InputError: for tables that are missing, unreadable or ambiguous, and if no scan has a diagnosis.
    """
    records, columns = Records(), dict[Path, Columns]()
    files = _tables(tree, sorted({participant for participant, _ in keys}))
    if not files:
        raise InputError(f"{tree}: no participants.tsv and no sessions.tsv; put one there with {NEEDED}")
    there: dict[str, None] = {}
    for file, owner in files:
        columns[file] = _read(file, owner, chosen, records, there)
    for ours, name in chosen.items():
        if name and not any(ours in found for found in columns.values()):
            raise InputError(f"{tree}: no table has a column '{name}'; the columns are {', '.join(there)}")
    if not any("group" in found for found in columns.values()):
        raise InputError(no_diagnoses(tree, there))
    tell_spellings(tree, [*records.people, *(participant for participant, _ in keys)])
    table = records.resolved(keys)
    _report(tree, table, records)
    return table, records.diagnoses()


def _report(tree: Path, table: pd.DataFrame, records: Records) -> None:
    """Report scans without a diagnosis: a warning, or, where no scan has one, what refuses the cohort."""
    without = table[table["group"] == ""]
    has_row = without["participant_id"].isin(list(records.people))
    strangers, undiagnosed = without[~has_row], without[has_row]
    fatal = len(without) == len(table)
    if len(strangers):
        example = next(iter(records.people), "none")
        value = f"{count_scans(strangers, table)} have no row in the tables; participants there are called '{example}'"
        advice = f"spell ids as the folders do, add the rows ({NEEDED}), or remove the scans"
        tell(Finding("no diagnosis", str(tree), value, advice, fatal))
    if len(undiagnosed):
        first = undiagnosed.iloc[0]["participant_id"]
        known = records.diagnoses()
        known = known[known["participant_id"] == first]
        there = ", ".join(f"{row.group} at {row.session_id}" for row in known.itertuples()) or "nothing"
        value = f"{count_scans(undiagnosed, table)} have no diagnosis at their visit; known of {first}: {there}"
        tell(Finding("no diagnosis", str(tree), value, "give each visit its own diagnosis to use its scan", fatal))


def _tables(tree: Path, participants: list[str]) -> list[tuple[Path, str]]:
    """The tables that exist, with the participant whom a table is about ("" for all), the weakest first."""
    places = [(tree / "participants.tsv", ""), (tree / "sessions.tsv", "")]
    for name in participants:
        folder = tree / "subjects" / name
        places += [(folder / "sessions.tsv", name), (folder / f"{name}_sessions.tsv", name)]
    return [(file, owner) for file, owner in places if file.is_file()]


def _read(file: Path, owner: str, chosen: Mapping[str, str], records: Records, there: dict[str, None]) -> Columns:
    """Add a table's rows to the records, and its columns to those that are `there`."""
    table = read_table(file)
    names = {name.lower(): name for name in table.columns}
    there.update(dict.fromkeys(table.columns))
    person, visit = names.get("participant_id", ""), names.get("session_id", "")
    if not (person or owner) or (owner and not visit):
        raise InputError(f"{file}: the columns are {', '.join(table.columns)}; it needs {NEEDED}, separated by tabs")
    columns = columns_of(file, table, chosen, required=False)
    for line, row in rows_of(table):
        participant = row[person] if person else owner
        if not participant:
            raise InputError(f"{file}: line {line} has no participant_id; fill it in or remove the line")
        session = canonical(row[visit] or UNKNOWN) if visit else ALWAYS
        records.add(file, line, (participant, session), row, columns)
    return columns
