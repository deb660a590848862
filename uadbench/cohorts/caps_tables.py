"""Who the people of a CAPS tree are: participants.tsv and sessions.tsv, laid over each other."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from uadbench.cohorts.base import COLUMNS
from uadbench.errors import InputError

ALIASES = {
    "group": ("diagnosis", "group", "diagnosis_bl"),
    "age": ("age", "age_bl"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id"),
    "mmse": ("mmse", "mms", "mmscore"),
}
"""Our column -> the names it goes by, the best first (compared without case)."""

SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
UNKNOWN = {"", "n/a", "na", "nan", "none", "-1", "unknown", "-4"}

NUMBERS = {"age": "years", "mmse": "points (0 to 30)"}
"""Our columns that hold numbers, and their units."""

Facts = dict[str, str | float]


def describe(tree: Path, keys: list[tuple[str, str]]) -> pd.DataFrame:
    """The cohort's table (base.COLUMNS) for these (participant, session) pairs, in their order.

    Looked for: `participants.tsv` and `sessions.tsv` in the tree's folder, `sessions.tsv` and
    `<sub>_sessions.tsv` in `subjects/<sub>/`. What is said of a session outweighs what is said of a
    participant; an age that is given once per participant is that at baseline.

    Raises InputError for tables that are missing, unreadable or ambiguous, and for scans without a row.
    """
    known: dict[tuple[str, int | None], Facts] = {}
    tables = _tables(tree, sorted({participant for participant, _ in keys}))
    if not tables:
        raise InputError(f"{tree}: has no participants.tsv and no sessions.tsv; put one there with {_wanted()}")
    for file, owner in tables:
        for key, facts in _read(file, owner).items():
            known.setdefault(key, {}).update(facts)
    rows, missing = [], []
    for participant, session in keys:
        month = months(session)
        whole, visit = known.get((participant, None)), known.get((participant, month))
        facts = _combine(whole or {}, visit or {}, month)
        if (whole is None and visit is None) or not facts.get("group"):
            missing.append(f"{participant} {session}")
        rows.append((participant, session, *(facts.get(n, float("nan") if n in NUMBERS else "") for n in COLUMNS[2:])))
    if missing:
        example = next((key[0] for key in known), "none")
        raise InputError(
            f"{tree}: {len(missing)} of {len(keys)} scans have no row with a diagnosis ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}) in {', '.join(file.name for file, _ in tables[:2])}, where "
            f"participants are called like '{example}'; add the rows ({_wanted()}) or remove the scans"
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def months(session: str) -> int:
    """The month of a session: ses-M00 and ses-M000 are both 0.

    Raises InputError for an id without a number.
    """
    digits = re.search(r"(\d+)$", session)
    if digits is None:
        raise InputError(f"session '{session}' has no month in its name; call sessions like ses-M000")
    return int(digits.group(1))


def _combine(whole: Facts, visit: Facts, month: int) -> Facts:
    """A session's facts over its participant's; people age between sessions."""
    facts = {**whole, **visit}
    if "age" in whole and "age" not in visit:
        facts["age"] = round(float(whole["age"]) + month / 12, 2)
    return facts


def _tables(tree: Path, participants: list[str]) -> list[tuple[Path, str]]:
    """The tables that exist, with the participant whom a table is about ("" for all), the weakest first."""
    places = [(tree / "participants.tsv", ""), (tree / "sessions.tsv", "")]
    for name in participants:
        folder = tree / "subjects" / name
        places += [(folder / "sessions.tsv", name), (folder / f"{name}_sessions.tsv", name)]
    return [(file, owner) for file, owner in places if file.is_file()]


def _read(file: Path, owner: str) -> dict[tuple[str, int | None], Facts]:
    """One table as facts by (participant, month); month None where the table has no sessions."""
    try:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file}: not a readable table ({' '.join(str(error).split())}); save it as TSV") from None
    table.columns = table.columns.str.strip().str.lower()
    if owner and "participant_id" not in table:
        table["participant_id"] = owner
    if "participant_id" not in table or (owner and "session_id" not in table):
        raise InputError(f"{file}: has the columns {', '.join(table.columns)}; it needs {_wanted()}, tab-separated")
    sources = {ours: _column(table, names) for ours, names in ALIASES.items()}
    found: dict[tuple[str, int | None], Facts] = {}
    for row in table.to_dict("records"):
        session = str(row.get("session_id", "")).strip()
        key = str(row["participant_id"]).strip(), months(session) if session else None
        if key in found:
            raise InputError(f"{file}: {key[0]} {session} has two rows; keep one")
        found[key] = {
            ours: value
            for ours, source in sources.items()
            if source and (value := _value(file, ours, str(row[source]).strip(), key[0])) is not None
        }
    return found


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in table), "")


def _value(file: Path, column: str, text: str, participant: str) -> str | float | None:
    """A cell in our terms; None where it says nothing."""
    if text.lower() in UNKNOWN:
        return None
    if column == "sex":
        if text.lower() not in SEXES:
            raise InputError(f"{file}: {participant} has sex '{text}'; write F or M, or n/a")
        return SEXES[text.lower()]
    if column in NUMBERS:
        try:
            return float(text)
        except ValueError:
            unit = NUMBERS[column]
            raise InputError(f"{file}: {participant} has {column} '{text}'; write {unit} as a number, or n/a") from None
    return "CN" if column == "group" and text.upper() == "CN" else text


def _wanted() -> str:
    return "the columns participant_id, session_id, diagnosis, age, sex"
