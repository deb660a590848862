"""Who the people of a CAPS tree are: participants.tsv and sessions.tsv, laid over each other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from uadbench.cohorts.base import COLUMNS, NUMBERS
from uadbench.cohorts.clinical import Facts, complete, facts, is_baseline, read_table, sources
from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.sessions import canonical, older
from uadbench.errors import InputError

WANTED = "the columns participant_id, session_id, diagnosis, age, sex"


def describe(tree: Path, keys: list[tuple[str, str]]) -> pd.DataFrame:
    """The cohort's table (base.COLUMNS) for these (participant, session) pairs, in their order.

    Looked for: `participants.tsv` and `sessions.tsv` in the tree's folder, `sessions.tsv` and
    `<sub>_sessions.tsv` in `subjects/<sub>/`. What is said of a session outweighs what is said of a
    participant; an age that is given once per participant, or in a column `age_bl`, is that at baseline.

    Raises InputError for tables that are missing, unreadable or ambiguous, and for scans without a row.
    """
    known: dict[tuple[str, str], Facts] = {}
    tables = _tables(tree, sorted({participant for participant, _ in keys}))
    if not tables:
        raise InputError(f"{tree}: has no participants.tsv and no sessions.tsv; put one there with {WANTED}")
    for file, owner in tables:
        for key, found in _read(file, owner).items():
            known.setdefault(key, {}).update(found)
    rows, missing = [], []
    for participant, session in keys:
        whole, visit = known.get((participant, "")), known.get((participant, session))
        found = _combine(whole or {}, visit or {}, session)
        if (whole is None and visit is None) or not found.get("group"):
            missing.append(f"{participant} {session}")
        rows.append((participant, session, *complete(found)))
    if missing:
        example = next((key[0] for key in known), "none")
        value = (
            f"{len(missing)} of {len(keys)} scans have no row with a diagnosis ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}) in {', '.join(file.name for file, _ in tables[:2])}, where "
            f"participants are called like '{example}'"
        )
        tell(Finding("no diagnosis", str(tree), value, f"add the rows ({WANTED}) or remove the scans"))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def _combine(whole: Facts, visit: Facts, session: str) -> Facts:
    """A session's facts over its participant's; people age between sessions."""
    found = {**whole, **visit}
    if "age" in whole and "age" not in visit:
        found["age"] = older(float(whole["age"]), session)
    return found


def _tables(tree: Path, participants: list[str]) -> list[tuple[Path, str]]:
    """The tables that exist, with the participant whom a table is about ("" for all), the weakest first."""
    places = [(tree / "participants.tsv", ""), (tree / "sessions.tsv", "")]
    for name in participants:
        folder = tree / "subjects" / name
        places += [(folder / "sessions.tsv", name), (folder / f"{name}_sessions.tsv", name)]
    return [(file, owner) for file, owner in places if file.is_file()]


def _read(file: Path, owner: str) -> dict[tuple[str, str], Facts]:
    """One table as facts by (participant, session); session "" where the table has none."""
    table = read_table(file)
    table.columns = table.columns.str.lower()
    if owner and "participant_id" not in table:
        table["participant_id"] = owner
    if "participant_id" not in table or (owner and "session_id" not in table):
        raise InputError(f"{file}: has the columns {', '.join(table.columns)}; it needs {WANTED}, tab-separated")
    columns = sources(file, table.columns, {})
    found: dict[tuple[str, str], Facts] = {}
    for row in table.to_dict("records"):
        text = str(row.get("session_id", "")).strip()
        session = canonical(text) if text else ""
        key = str(row["participant_id"]).strip(), session
        if key in found:
            tell(Finding("table", str(file), f"{key[0]} {text}".rstrip() + " has two rows", "keep one"))
            continue
        found[key] = facts(file, {str(k): str(v) for k, v in row.items()}, columns, key[0])
        if session and "age" in found[key] and is_baseline(columns["age"]):
            found[key]["age"] = older(float(found[key]["age"]), session)
    return found
