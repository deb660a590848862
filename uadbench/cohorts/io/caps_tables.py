"""Reading of the tables of a CAPS tree: participants.tsv and sessions.tsv, combined in order of priority."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from uadbench.cohorts.findings import Finding, report
from uadbench.cohorts.io.clinical_tables import Columns, columns_of, no_diagnoses
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.io.text_tables import read_table, rows_of
from uadbench.cohorts.io.visits import ALWAYS, Key, Records, count_scans, report_spellings
from uadbench.errors import InputError

UNKNOWN = "n/a"
"""Replacement for an empty session id in a table of visits."""

NEEDED = "the columns participant_id, session_id, diagnosis, age, sex"


def describe(tree: Path, keys: list[Key], chosen: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Describe the scans of a tree from its tables.

    The tables are, in order of increasing priority, `participants.tsv` and `sessions.tsv` in the tree's folder, and
    `sessions.tsv` and `<sub>_sessions.tsv` in `subjects/<sub>/`. The module `visits` explains which value applies to
    which visit. A scan without a diagnosis remains in the table, with group "".

    Args:
        tree: The CAPS tree.
        keys: (participant, session) of each scan.
        chosen: The column names chosen by the user, by columns of `base.COLUMNS`; "" if not chosen.

    Returns:
        The cohort's table (`base.COLUMNS`), with one row for each key, and all diagnoses (`Records.diagnoses`).

    Raises:
        InputError: If tables are missing, unreadable or ambiguous, or no scan has a diagnosis.
    """
    records, columns = Records(), dict[Path, Columns]()
    files = _tables(tree, sorted({participant for participant, _ in keys}))
    if not files:
        raise InputError(f"{tree}: no participants.tsv and no sessions.tsv; put one there with {NEEDED}")
    names: dict[str, None] = {}
    for file, owner in files:
        columns[file] = _read(file, owner, chosen, records, names)
    for ours, name in chosen.items():
        if name and not any(ours in used for used in columns.values()):
            raise InputError(f"{tree}: no table has a column '{name}'; the columns are {', '.join(names)}")
    if not any("group" in used for used in columns.values()):
        raise InputError(no_diagnoses(tree, names))
    report_spellings(tree, [*records.people, *(participant for participant, _ in keys)])
    table = records.resolved(keys)
    _report(tree, table, records)
    return table, records.diagnoses()


def _report(tree: Path, table: pd.DataFrame, records: Records) -> None:
    """Report scans without a diagnosis: a warning, or an error if no scan has a diagnosis."""
    without = table[table["group"] == ""]
    has_row = without["participant_id"].isin(list(records.people))
    strangers, undiagnosed = without[~has_row], without[has_row]
    fatal = len(without) == len(table)
    if len(strangers):
        example = next(iter(records.people), "none")
        value = f"{count_scans(strangers, table)} have no row in the tables, whose ids are such as '{example}'"
        advice = f"use the ids of the folders, add the rows ({NEEDED}), or remove the scans"
        report(Finding("no diagnosis", str(tree), value, advice, fatal))
    if len(undiagnosed):
        first = undiagnosed.iloc[0]["participant_id"]
        diagnoses = records.diagnoses()
        diagnoses = diagnoses[diagnoses["participant_id"] == first]
        listed = ", ".join(f"{row.group} at {row.session_id}" for row in diagnoses.itertuples()) or "none"
        value = f"{count_scans(undiagnosed, table)} have no diagnosis at their visit; diagnoses of {first}: {listed}"
        report(Finding("no diagnosis", str(tree), value, "give each visit its own diagnosis to use its scan", fatal))


def _tables(tree: Path, participants: list[str]) -> list[tuple[Path, str]]:
    """The existing tables in order of increasing priority, each with its participant ("" for all participants)."""
    candidates = [(tree / "participants.tsv", ""), (tree / "sessions.tsv", "")]
    for name in participants:
        folder = tree / "subjects" / name
        candidates += [(folder / "sessions.tsv", name), (folder / f"{name}_sessions.tsv", name)]
    return [(file, owner) for file, owner in candidates if file.is_file()]


def _read(file: Path, owner: str, chosen: Mapping[str, str], records: Records, names: dict[str, None]) -> Columns:
    """Add the rows of a table to the records, and its columns to `names`."""
    table = read_table(file)
    by_lower = {name.lower(): name for name in table.columns}
    names.update(dict.fromkeys(table.columns))
    person, visit = by_lower.get("participant_id", ""), by_lower.get("session_id", "")
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
