"""Finds the scans to which a model is applied: NIfTI files, tables of scans, CAPS trees."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.file_cohort import FileCohort
from uadbench.cohorts.io.sessions import BASELINE
from uadbench.cohorts.opening import TABLES, open_cohort
from uadbench.errors import InputError
from uadbench.runtime.files import file_name
from uadbench.types import Grid, Scan

Suvr = Literal["as-is", "cerebellum-pons"]


@dataclass(frozen=True)
class Wanted:
    """One scan to which a model is applied.

    Attributes:
        label: The beginning of the names of its output files.
        file: Its NIfTI file.
        cohort: Reads it.
        row: What its table says of it.
    """

    label: str
    file: Path
    cohort: FileCohort
    row: pd.Series

    def read(self, grid: Grid) -> Scan:
        """The scan on a grid, in SUVR.

        Raises:
            ScanError: If the file cannot be used.
        """
        return self.cohort.read(self.file, grid, self.row)


def wanted_scans(references: Sequence[str], suvr: Suvr, nan: Literal["refuse", "zero"]) -> list[Wanted]:
    """Find the scans; none is read yet.

    Args:
        references: NIfTI files, tables (.tsv, .csv) or CAPS trees, the latter two with options as after `--cohort`.
        suvr: Of files: take values as SUVR, or divide each scan by its mean over cerebellum and pons.
        nan: Of files: refuse voxels that are NaN or infinite, or set them to 0.

    Raises:
        InputError: If there is no such file, a table cannot be read, an option of files is given for a table or a tree,
            or two scans would be called the same.
    """
    found: list[Wanted] = []
    for reference in references:
        path = Path(reference).expanduser()
        if path.is_dir() or reference.partition(":")[0].lower().endswith(TABLES):
            if suvr != "as-is" or nan != "refuse":
                option = f"suvr={suvr}" if suvr != "as-is" else f"nan={nan}"
                raise InputError(f"{reference}: options of a table or a tree are part of its name, as in PATH:{option}")
            cohort = open_cohort(reference)
            if not isinstance(cohort, FileCohort):
                raise InputError(f"{reference}: is not made of files; give NIfTI files, a table or a CAPS tree")
            files = cohort.files(cohort.participants)
            for place, file in enumerate(files):
                row = cohort.participants.iloc[place]
                found.append(Wanted(f"{row.participant_id}_{row.session_id}", file, cohort, row))
        else:
            found.append(_single(path, suvr, nan))
    labels = Counter(each.label for each in found)
    for each in found:
        if labels[each.label] > 1:
            raise InputError(f"{each.file}: two scans would both be called {each.label}; rename one, or run twice")
    return found


def _single(path: Path, suvr: Suvr, nan: Literal["refuse", "zero"]) -> Wanted:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give NIfTI files, a table of scans or a CAPS tree")
    label = file_name(re.sub(r"(_pet)?\.nii(\.gz)?$", "", path.name))
    unknown = {"age": float("nan"), "mmse": float("nan")}
    row = {name: unknown.get(name, "") for name in COLUMNS} | {"participant_id": label, "session_id": BASELINE}
    table = pd.DataFrame([row], columns=list(COLUMNS))
    files = {(label, BASELINE): path}
    visits = table[["participant_id", "session_id", "group"]]
    cohort = FileCohort(path.parent, "file", files, table, visits, name="", nan=nan, suvr=suvr, space="trust")
    return Wanted(label, path, cohort, table.iloc[0])
