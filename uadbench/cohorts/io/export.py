"""Export of a cohort to a CAPS tree, which other tools can read."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from uadbench.cohorts.base import COLUMNS, Cohort, is_id
from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import HEADER_BYTES, write_volume
from uadbench.cohorts.io.text_tables import read_table
from uadbench.errors import InputError
from uadbench.runtime import files
from uadbench.runtime.parts import is_bare, sweep
from uadbench.runtime.progress import Progress
from uadbench.runtime.reading import read_json
from uadbench.types import Grid

CAPS_GRID = Grid((169, 208, 179), 1.0, (-84.0, -119.0, -78.0))
"""Clinica's cropped space: MNI152NLin2009cSym, desc-Crop, 1 mm."""

DESCRIPTION = "dataset_description.json"


def export_caps(cohort: Cohort, rows: pd.DataFrame, folder: Path, progress: Progress) -> None:
    """Write scans at 1 mm under the names that Clinica's pet-linear uses, and tables.

    The tables are written last, because a tree without them cannot be opened as a cohort.

    Args:
        cohort: The cohort.
        rows: Rows of `cohort.participants`.
        folder: A new or empty folder, or an incomplete export of the same cohort, which is continued: complete files
            are kept, and truncated files are written again.
        progress: The display of progress.

    Raises:
        InputError: If the folder contains anything else.
        Unwritable: If a file cannot be written, for example because the disk is full.
    """
    for name in (*rows["participant_id"], *rows["session_id"]):
        if not is_id(name) or files.file_name(name) != name:
            raise InputError(
                f"{cohort.name}: {name[:80]!r} is not a valid folder name; use letters, digits, '-', '_' and '.'"
            )
    _claim(folder, cohort)
    paths = [folder / scan_path(p, s) for p, s in zip(rows["participant_id"], rows["session_id"], strict=True)]
    files.require_inside(folder, *paths)
    for parent in {path.parent for path in paths}:
        sweep(parent)
    missing = [position for position, path in enumerate(paths) if not _whole(path)]
    if len(missing) < len(paths):
        progress.notice(f"{folder}: {len(paths) - len(missing)} of {len(paths)} scans exist already")
    label = f"export {cohort.name}: {len(missing)} scans on {CAPS_GRID}"
    waiting: deque[Future[None]] = deque()
    with progress.task(label, len(missing)) as task, ThreadPoolExecutor(2) as pool:
        for position, scan in zip(missing, cohort.scans(CAPS_GRID, rows.iloc[missing]), strict=True):
            waiting.append(pool.submit(write_volume, paths[position], scan.data, mni(scan.affine)))
            if len(waiting) > 2:
                waiting.popleft().result()
                task.advance(1)
        while waiting:
            waiting.popleft().result()
            task.advance(1)
    _write_tables(folder, rows)


def scan_path(participant: str, session: str) -> Path:
    """The path of a scan in a CAPS tree.

    Args:
        participant: The participant's identifier.
        session: The session's identifier.

    Returns:
        The path, relative to the tree.
    """
    space = "space-MNI152NLin2009cSym_desc-Crop_res-1x1x1_suvr-cerebellumPons2"
    return Path(
        "subjects", participant, session, "pet_linear", f"{participant}_{session}_trc-18FFDG_{space}_pet.nii.gz"
    )


def _claim(folder: Path, cohort: Cohort) -> None:
    """Prepare the folder for an export of this cohort; refuse one with other content."""
    description = folder / DESCRIPTION
    source = {"Name": "uadbench", "Cohort": cohort.name, "Version": cohort.version}
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a new or empty folder")
    if folder.is_dir() and not is_bare(folder):
        if not (folder / "subjects").is_dir() and not description.is_file():
            raise InputError(f"{folder}: is not empty and not a CAPS tree; give a new or empty folder")
        try:
            present = read_json(description, files.LARGEST_SEALED, links=True)["GeneratedBy"]
        except (OSError, ValueError, KeyError, TypeError):
            present = None
        if present != [source]:
            raise InputError(
                f"{folder}: contains another CAPS tree, not cohort {cohort.name}; give a new or empty folder"
            )
        return
    files.require_writable(folder)
    fields = {"Name": cohort.name, "BIDSVersion": "1.7.0", "CAPSVersion": "1.0.0", "DatasetType": "derivative"}
    files.write_json(description, {**fields, "GeneratedBy": [source]})


def _write_tables(folder: Path, rows: pd.DataFrame) -> None:
    """Write participants.tsv and sessions.tsv, and keep the rows of earlier exports."""
    sessions = rows.loc[:, list(COLUMNS)].rename(columns={"group": "diagnosis"}).astype(object)
    earlier = folder / "sessions.tsv"
    if earlier.is_file():
        sessions = pd.concat([read_table(earlier), sessions])
    sessions = sessions.replace("", "n/a").drop_duplicates(["participant_id", "session_id"], keep="last")
    sessions = sessions.sort_values(["participant_id", "session_id"])
    people = sessions.drop_duplicates("participant_id").rename(columns={"age": "age_bl", "diagnosis": "diagnosis_bl"})
    for name, table in (("sessions.tsv", sessions), ("participants.tsv", people.drop(columns="session_id"))):
        files.write_text(folder / name, table.to_csv(sep="\t", index=False, na_rep="n/a"))


def _whole(path: Path) -> bool:
    """Whether a file is complete, according to the uncompressed size at the end of a gzip file."""
    if not path.is_file() or path.stat().st_size < 1000:
        return False
    with path.open("rb") as handle:
        handle.seek(-4, 2)
        return int.from_bytes(handle.read(4), "little") == HEADER_BYTES + 4 * CAPS_GRID.size
