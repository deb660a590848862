"""A table of NIfTI files as a cohort: one row a scan, any column names, any orientation and voxel size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pandas as pd

from uadbench.cohorts.base import is_id
from uadbench.cohorts.file_cohort import FileCohort, tell_another
from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.io.clinical_tables import columns_of, no_diagnoses
from uadbench.cohorts.io.sessions import BASELINE, canonical
from uadbench.cohorts.io.text_tables import column, read_table, rows_of
from uadbench.cohorts.io.visits import Key, Records, count_scans, tell_spellings
from uadbench.errors import InputError
from uadbench.registry import register_cohort

_ROUNDED = re.compile(r"\d(\.\d+)?E\+\d+", re.IGNORECASE)


@register_cohort("table")
class Table(FileCohort):
    """Scans that a TSV or CSV file lists, in MNI space.

    A scan whose visit has no diagnosis is neither a healthy scan nor a patient's.

    Args:
        path: The table.
        image: The column with the scans' files, relative to the table's folder.
        participant, session: The columns with their ids; a table without sessions holds baseline scans.
        diagnosis, age, sex, site, scanner, amyloid, mmse: The columns of these, where they are not called so.
        name, nan, suvr, space: See `FileCohort`.

    Raises:
        InputError: For a table that is unreadable, lacks a column, names a scan or a file twice, has a row without a
            participant or an image, or has no diagnosis at all.
    """

    def __init__(
        self,
        path: Path,
        image: str = "path",
        participant: str = "participant_id",
        session: str = "session_id",
        diagnosis: str = "",
        age: str = "",
        sex: str = "",
        site: str = "",
        scanner: str = "",
        amyloid: str = "",
        mmse: str = "",
        name: str = "",
        nan: Literal["refuse", "zero"] = "refuse",
        suvr: Literal["as-is", "cerebellum-pons"] = "as-is",
        space: Literal["check", "trust"] = "check",
    ) -> None:
        file = Path(path).expanduser()
        chosen = {"group": diagnosis, "age": age, "sex": sex, "site": site}
        chosen |= {"scanner": scanner, "amyloid": amyloid, "mmse": mmse}
        files, people, visits = _read(file, image, participant, session, chosen)
        super().__init__(file.parent, "table", files, people, visits, name=name, nan=nan, suvr=suvr, space=space)


def _read(
    file: Path, image: str, participant: str, session: str, chosen: dict[str, str]
) -> tuple[dict[Key, Path], pd.DataFrame, pd.DataFrame]:
    """(participant, session) -> file, the cohort's table, both sorted, and all diagnoses of visits."""
    table = read_table(file)
    if table.empty:
        raise InputError(f"{file}: has no rows; write one a scan")
    images, people = column(file, table, image, "image"), column(file, table, participant, "participant")
    has_sessions = session.lower() in {name.lower() for name in table.columns} or session != "session_id"
    visits = column(file, table, session, "session") if has_sessions else ""
    columns = columns_of(file, table, chosen)
    if "group" not in columns:
        raise InputError(no_diagnoses(file, table.columns))
    files, listed = dict[Key, Path](), dict[Path, Key]()
    records = Records()
    for line, row in rows_of(table):
        key = row[people], canonical(row[visits]) if visits else BASELINE
        where = file.parent / home(row[images])
        if problem := _problem(row, key, files, people, images):
            tell(Finding("table", str(file), f"line {line}: {problem}", "correct or remove the line"))
            continue
        if (other := listed.setdefault(where, key)) != key:
            value = f"line {line}: {' '.join(key)} has the same file as {' '.join(other)} ({where.name})"
            tell(Finding("table", str(file), value, "correct or remove the line"))
            continue
        tell_another(where, key)
        files[key] = where
        records.add(file, line, key, row, columns)
    tell_spellings(file, records.people)
    order = sorted(files)
    found = records.resolved(order)
    without = found[found["group"] == ""]
    if len(without):
        value = f"{count_scans(without, found)} have no diagnosis at their visit"
        advice = "give each visit its own diagnosis to use its scan"
        tell(Finding("no diagnosis", str(file), value, advice, fatal=len(without) == len(found)))
    return {key: files[key] for key in order}, found, records.diagnoses()


def _problem(row: dict[str, str], key: Key, files: dict[Key, Path], people: str, images: str) -> str:
    """What makes a row unusable; "" where nothing does."""
    if not key[0] or not row[images]:
        return f"has no {people if not key[0] else images}"
    for text in key:
        if not is_id(text):
            return f"has the id {text[:80]!r}; an id is at most 128 characters, without / and \\"
    if _ROUNDED.fullmatch(key[0]):
        return f"has the id {key[0]}, a number that a spreadsheet has rounded"
    if not row[images].isprintable():
        return f"has the {images} {row[images][:80]!r}, which is none"
    return f"{' '.join(key)} has two rows" if key in files else ""


def home(text: str) -> Path:
    """A path with ~ filled in, where that is somebody's home."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
