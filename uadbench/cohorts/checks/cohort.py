"""The check of a whole cohort, which reads everything once and lists all problems with advice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uadbench.cohorts.base import visits_of
from uadbench.cohorts.checks.images import Measured, across_scans, measure, of_scan
from uadbench.cohorts.checks.people import people_findings
from uadbench.cohorts.file_cohort import FileCohort
from uadbench.cohorts.findings import Finding, ScanError, collecting
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.splits.listed import GivenSplit, read_split, select
from uadbench.cohorts.splits.roles import Roles
from uadbench.errors import InputError
from uadbench.runtime.progress import Progress


@dataclass(frozen=True)
class CheckUp:
    """The result of a check.

    Attributes:
        cohort: The name of the cohort.
        participants: The number of participants.
        scans: The number of scans.
        people: A line with the number of participants and scans of each diagnosis.
        left_out: A line for each reason why scans are left out.
        findings: The problems: fatal ones first, then sorted by kind and location.
    """

    cohort: str
    participants: int
    scans: int
    people: str
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> int:
        """The number of findings that prevent a run or invalidate its scores."""
        return sum(finding.fatal for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All fields and the number of fatal findings, for JSON."""
        return {**asdict(self), "fatal": self.fatal}


def check_cohort(reference: str, roles: Roles, progress: Progress, split: Path | None = None) -> CheckUp:
    """Read all scans and tables of a cohort once, and list all problems; nothing is changed.

    Args:
        reference: The value of `--cohort`: a CAPS tree, or a table of scans.
        roles: The diagnoses of healthy participants and of patients.
        progress: The display of progress.
        split: A split folder of ClinicaDL, or a split in a .json file, to check as well.

    Returns:
        The result of the check.

    Raises:
        InputError: If there is no cohort to check: no CAPS tree, no table, or no scan in it.
    """
    with collecting() as table_findings:
        cohort = open_cohort(reference)
        listed = None if split is None else read_split(split)
    if not isinstance(cohort, FileCohort):
        raise InputError(f"{reference}: does not consist of files; give a CAPS tree or a table of scans")
    table = cohort.participants
    measured: dict[tuple[str, str], Measured] = {}
    findings = list(table_findings)
    with progress.task(f"{cohort.name}: reading {len(table)} scans", len(table)) as task:
        for key, file, answer in _measured(cohort):
            if isinstance(answer, Measured):
                measured[key] = answer
                findings += of_scan(file, answer, trusted=cohort.space == "trust")
            else:
                findings.append(answer)
            task.advance(1, key[0])
    files = dict(zip(measured, cohort.files(_rows(table, measured)), strict=True))
    findings += across_scans(measured, files)
    findings += people_findings(table, visits_of(cohort), roles)
    if listed is not None:
        findings += _split_findings(table, listed)
    ordered = sorted(findings, key=lambda finding: (not finding.fatal, finding.kind, finding.where))
    people = int(table["participant_id"].nunique())
    left_out = tuple(roles.left_out(table, visits_of(cohort)))
    return CheckUp(cohort.name, people, len(table), roles.counted(table), left_out, tuple(ordered))


def _measured(cohort: FileCohort) -> Iterator[tuple[tuple[str, str], Path, Measured | Finding]]:
    """Yield the measurements of each file, or the reason why it cannot be read; a few files are in memory at a time."""
    table = cohort.participants
    keys = list(zip(table["participant_id"], table["session_id"], strict=True))
    waiting: deque[Future[Measured | Finding]] = deque()
    with ThreadPoolExecutor(cohort.workers) as pool:
        files = cohort.files(table)
        ahead = iter(files)
        for key, file in zip(keys, files, strict=True):
            while len(waiting) <= cohort.workers and (following := next(ahead, None)) is not None:
                waiting.append(pool.submit(_measure, following, cohort))
            yield key, file, waiting.popleft().result()


def _measure(file: Path, cohort: FileCohort) -> Measured | Finding:
    try:
        return measure(file, cohort.nan, in_units_of_reference=cohort.suvr != "as-is")
    except ScanError as error:
        return error.finding


def _rows(table: pd.DataFrame, measured: dict[tuple[str, str], Measured]) -> pd.DataFrame:
    keys = zip(table["participant_id"], table["session_id"], strict=True)
    return table[np.array([key in measured for key in keys], dtype=bool)]


def _split_findings(table: pd.DataFrame, split: GivenSplit) -> list[Finding]:
    """Scans that are listed in the split but are not in the cohort."""
    listed = {key for fold in split.folds for key in (*fold.train, *fold.validation)} | set(split.test)
    _, missing = select(table, listed)
    if not missing:
        return []
    some = ", ".join("_".join(key) for key in missing[:3]) + (", ..." if len(missing) > 3 else "")
    value = f"{len(missing)} of {len(listed)} listed scans are not in the cohort ({some})"
    advice = "they will be left out; add them or correct the split"
    return [Finding("not in cohort", split.source, value, advice, False)]
