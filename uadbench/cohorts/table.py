"""The cohort plugin `table`: a TSV or CSV table of NIfTI files with one row per scan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pandas as pd

from uadbench.cohorts.base import is_id
from uadbench.cohorts.file_cohort import FileCohort, warn_about_label
from uadbench.cohorts.findings import Finding, report
from uadbench.cohorts.io.clinical_tables import columns_of, no_diagnoses
from uadbench.cohorts.io.sessions import BASELINE, canonical
from uadbench.cohorts.io.text_tables import column, read_table, rows_of
from uadbench.cohorts.io.visits import Key, Records, count_scans, report_spellings
from uadbench.errors import InputError
from uadbench.registry import register_cohort

_ROUNDED = re.compile(r"\d(\.\d+)?E\+\d+", re.IGNORECASE)


@register_cohort("table")
class Table(FileCohort):
    """Scans in MNI space, listed in a TSV or CSV table.

    The files may have any orientation and voxel size. A scan without a diagnosis at its visit is neither a healthy scan
    nor a scan of a patient.

    Args:
        path: The table.
        image: The column of image files, relative to the folder of the table.
        participant: The column of participant identifiers.
        session: The column of session identifiers; without it, all scans are baseline scans.
        diagnosis: The column of diagnoses, if it is not called "diagnosis", "group" or "dx".
        age: The column of ages, if it has another name.
        sex: The column of sex, if it has another name.
        site: The column of sites, if it has another name.
        scanner: The column of scanners, if it has another name.
        amyloid: The column of amyloid status, if it has another name.
        mmse: The column of MMSE scores, if it has another name.
        name: The name of the cohort in results; see `FileCohort`.
        nan: What to do with NaN or infinite voxels; see `FileCohort`.
        suvr: How to convert values to SUVR; see `FileCohort`.
        space: Whether to check that scans are in MNI space; see `FileCohort`.

    Raises:
        InputError: If the table cannot be read, lacks a column, lists a scan or a file twice, has a row without a
            participant or an image, or has no diagnoses.
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
    """The file of each (participant, session) and the cohort's table, both sorted, and all diagnoses of visits."""
    table = read_table(file)
    if table.empty:
        raise InputError(f"{file}: has no rows; write one row per scan")
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
            report(Finding("table", str(file), f"line {line}: {problem}", "correct or remove the line"))
            continue
        if (other := listed.setdefault(where, key)) != key:
            value = f"line {line}: {' '.join(key)} has the same file as {' '.join(other)} ({where.name})"
            report(Finding("table", str(file), value, "correct or remove the line"))
            continue
        warn_about_label(where, key)
        files[key] = where
        records.add(file, line, key, row, columns)
    report_spellings(file, records.people)
    order = sorted(files)
    described = records.resolved(order)
    without = described[described["group"] == ""]
    if len(without):
        value = f"{count_scans(without, described)} have no diagnosis at their visit"
        advice = "give each visit its own diagnosis to use its scan"
        report(Finding("no diagnosis", str(file), value, advice, fatal=len(without) == len(described)))
    return {key: files[key] for key in order}, described, records.diagnoses()


def _problem(row: dict[str, str], key: Key, files: dict[Key, Path], people: str, images: str) -> str:
    """The reason why a row cannot be used; "" if it can."""
    if not key[0] or not row[images]:
        return f"has no {people if not key[0] else images}"
    for text in key:
        if not is_id(text):
            return f"has the id {text[:80]!r}; an id is at most 128 characters, without / and \\"
    if _ROUNDED.fullmatch(key[0]):
        return f"has the id {key[0]}, a number that a spreadsheet has rounded"
    if not row[images].isprintable():
        return f"has the {images} {row[images][:80]!r}, which is not a valid path"
    return f"{' '.join(key)} has two rows" if key in files else ""


def home(text: str) -> Path:
    """Expand ~ in a path.

    Args:
        text: The path.

    Returns:
        The expanded path; unchanged if ~ is not the home folder of a user.
    """
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
