"""A table of NIfTI files as a cohort: one row a scan, any column names, any orientation and voxel size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from uadbench.cohorts.base import COLUMNS, NUMBERS, is_id
from uadbench.cohorts.clinical import Facts, complete, facts, is_baseline, read_table, require, sources
from uadbench.cohorts.files import FileCohort
from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.sessions import BASELINE, canonical, older
from uadbench.errors import InputError
from uadbench.registry import register_cohort


@register_cohort("table")
class Table(FileCohort):
    """Scans that a TSV or CSV file lists, in MNI space.

    Parameters
    ----------
    path : the table
    image : the column with the scans' files, relative to the table's folder
    participant, session : the columns with their ids; a table without sessions holds baseline scans
    diagnosis, age, sex, site, scanner, amyloid, mmse : the columns of these, where they are not called so
    name, nan, suvr, space : see `FileCohort`

    Raises InputError for a table that is unreadable, lacks a column, names a scan twice, or has a row without a
    participant, an image or a diagnosis.
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
        told = {"group": diagnosis, "age": age, "sex": sex, "site": site}
        told |= {"scanner": scanner, "amyloid": amyloid, "mmse": mmse}
        files, people = _read(file, image, participant, session, told)
        super().__init__(file.parent, "table", files, people, name=name, nan=nan, suvr=suvr, space=space)


def _read(
    file: Path, image: str, participant: str, session: str, chosen: dict[str, str]
) -> tuple[dict[tuple[str, str], Path], pd.DataFrame]:
    """(participant, session) -> file, and the cohort's table, both sorted."""
    table = read_table(file)
    if table.empty:
        raise InputError(f"{file}: has no rows; write one a scan")
    images, people = require(file, table.columns, image), require(file, table.columns, participant)
    has_sessions = session.lower() in table.columns.str.lower() or session != "session_id"
    visits = require(file, table.columns, session) if has_sessions else ""
    columns = sources(file, table.columns, chosen)
    if "group" not in columns:
        raise InputError(
            f"{file}: has no column of diagnoses; name it: PATH:diagnosis=COLUMN; it has {', '.join(table.columns)}"
        )
    files: dict[tuple[str, str], Path] = {}
    known: dict[tuple[str, str], Facts] = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        cells = {str(column): str(value).strip() for column, value in row.items()}
        key = cells[people], canonical(cells[visits]) if visits else BASELINE
        if problem := _problem(cells, key, files, people, images):
            tell(Finding("table", str(file), f"line {number}: {problem}", "mend or remove the line"))
            continue
        found = facts(file, cells, columns, key[0])
        if not found.get("group"):
            tell(Finding("no diagnosis", str(file), f"line {number}: {' '.join(key)} has none", "fill it in"))
        if "age" in found and is_baseline(columns["age"]):
            found["age"] = older(float(found["age"]), key[1])
        files[key], known[key] = file.parent / _home(Path(cells[images])), found
    order = sorted(files)
    frame = pd.DataFrame([(*key, *complete(known[key])) for key in order], columns=list(COLUMNS))
    return {key: files[key] for key in order}, frame.astype(dict.fromkeys(NUMBERS, float))


def _problem(
    cells: dict[str, str], key: tuple[str, str], files: dict[tuple[str, str], Path], people: str, images: str
) -> str:
    """What makes a row unusable; "" where nothing does."""
    if not key[0] or not cells[images]:
        return f"has no {people if not key[0] else images}"
    for text in key:
        if not is_id(text):
            return f"has the id {text[:80]!r}; an id is at most 128 characters, without / and \\"
    if not cells[images].isprintable():
        return f"has the {images} {cells[images][:80]!r}, which is none"
    return f"{' '.join(key)} has two rows" if key in files else ""


def _home(path: Path) -> Path:
    """The path with ~ filled in, where that is somebody's home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
