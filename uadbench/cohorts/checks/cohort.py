"""A cohort's check-up: everything is read once, and every fault is named with what to do about it."""

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
    """What was looked at, and what was found; fatal findings first, then by kind and place."""

    cohort: str
    participants: int
    scans: int
    people: str
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> int:
        """How many findings spoil a run or its scores."""
        return sum(finding.fatal for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "fatal": self.fatal}


def check_cohort(reference: str, roles: Roles, progress: Progress, split: Path | None = None) -> CheckUp:
    """Read every scan of a cohort once, side by side, and its tables; nothing is changed.

    Args:
        reference: As after `--cohort`: a CAPS tree, or a table of scans.
        split: ClinicaDL's split folder or a split's .json, to be checked for people in two parts.

    Raises:
        InputError: Where there is no cohort to be checked: no tree, no table, no scan in it.
    """
    with collecting() as told:
        cohort = open_cohort(reference)
        given = None if split is None else read_split(split)
    if not isinstance(cohort, FileCohort):
        raise InputError(f"{reference}: is not made of files; give a CAPS tree or a table of scans")
    table = cohort.participants
    measured: dict[tuple[str, str], Measured] = {}
    findings = list(told)
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
    if given is not None:
        findings += _split_findings(table, given)
    ordered = sorted(findings, key=lambda finding: (not finding.fatal, finding.kind, finding.where))
    people = int(table["participant_id"].nunique())
    left_out = tuple(roles.left_out(table, visits_of(cohort)))
    return CheckUp(cohort.name, people, len(table), roles.counted(table), left_out, tuple(ordered))


def _measured(cohort: FileCohort) -> Iterator[tuple[tuple[str, str], Path, Measured | Finding]]:
    """What every file measures like, or why it cannot be read, in order, a few files in memory at a time."""
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


def _split_findings(table: pd.DataFrame, given: GivenSplit) -> list[Finding]:
    """Scans that the split lists and the cohort lacks."""
    listed = {key for fold in given.folds for key in (*fold.train, *fold.validation)} | set(given.test)
    _, lost = select(table, listed)
    if not lost:
        return []
    some = ", ".join("_".join(key) for key in lost[:3]) + (", ..." if len(lost) > 3 else "")
    value = f"{len(lost)} of {len(listed)} listed scans are not in the cohort ({some})"
    return [Finding("not in cohort", given.source, value, "they will be left out; add them or mend the split", False)]
