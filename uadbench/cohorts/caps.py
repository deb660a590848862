"""A Clinica CAPS tree as a cohort: the pet-linear FDG scans in it, and what its tables say of the people."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pandas as pd

from uadbench import atlas, store
from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.caps_tables import describe
from uadbench.cohorts.nifti import read_volume
from uadbench.errors import InputError
from uadbench.registry import register_cohort
from uadbench.types import Grid, Scan

PATTERN = "subjects/sub-*/ses-*/pet_linear/*_space-MNI152NLin2009cSym*_suvr-*_pet.nii.gz"
"""Where Clinica's pet-linear leaves its results; some tools write pet-linear for the folder."""


@register_cohort("caps")
class Caps:
    """FDG PET scans of a folder in Clinica's CAPS layout, as its pet-linear pipeline leaves them.

    Parameters
    ----------
    path : the tree's folder, which holds `subjects/` and `participants.tsv` or `sessions.tsv`
    contains : a part of the file name that picks one of several scans of a session, such as "rec-coregiso"
    nan : what to do with voxels that are NaN or infinite

    The name holds eight digits of a hash of the files' names and sizes: results tell which data they
    are from, and no folder of anybody's machine. Scans whose `diagnosis` is CN are the healthy ones.

    Raises InputError if there is no tree, no scan in it, several scans for one session, or no row for a scan.
    """

    def __init__(self, path: Path, contains: str = "", nan: Literal["refuse", "zero"] = "refuse") -> None:
        self.path = Path(path).expanduser()
        self.version = "1"
        self._nan = nan
        self._files = _find_scans(self.path, contains)
        self.participants = describe(self.path, list(self._files))
        known = [[*key, file.stat().st_size] for key, file in self._files.items()]
        self.name = f"caps-{store.content_hash(known, nan)[:8]}"

    def content_key(self, rows: pd.DataFrame) -> str:
        """A hash of the files' paths in the tree, sizes and times of change."""
        told = []
        for file in self.files(rows):
            stat = _stat(file)
            told.append([file.relative_to(self.path).as_posix(), stat.st_size, stat.st_mtime_ns])
        return store.content_hash(told, self._nan)

    def files(self, rows: pd.DataFrame) -> list[Path]:
        """The file of each row."""
        return [self._files[key] for key in zip(rows["participant_id"], rows["session_id"], strict=True)]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Read the rows' files and sample them on the grid, a few at a time, in order.

        `Scan.extent` is the range of the file's own voxels. Raises InputError, naming the file.
        """
        workers = min(4, os.cpu_count() or 1)
        waiting: deque[Future[Scan]] = deque()
        pool = ThreadPoolExecutor(workers)  # unpacking gzip lets go of the interpreter
        try:
            for position, file in enumerate(self.files(rows)):
                waiting.append(pool.submit(self._read, file, grid, rows.iloc[position]))
                if len(waiting) == workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, file: Path, grid: Grid, row: pd.Series) -> Scan:
        image = read_volume(file, self._nan)
        return Scan(
            participant=row.participant_id,
            session=row.session_id,
            data=atlas.resample(image.data, image.affine, grid.affine, grid.shape),
            affine=grid.affine,
            extent=(float(image.data.min()), float(image.data.max())),
            **{name: row[name] for name in COLUMNS[2:]},
        )


def _find_scans(tree: Path, contains: str) -> dict[tuple[str, str], Path]:
    """(participant, session) -> file, sorted by key. Simulated scans (`_pat-`, `_deg-`) are left out."""
    if not tree.is_dir():
        raise InputError(f"{tree}: {'is a file' if tree.exists() else 'no such folder'}; give a CAPS tree's folder")
    if not (tree / "subjects").is_dir():
        raise InputError(f"{tree}: has no folder 'subjects', so it is no CAPS tree; {_hint(tree)}")
    candidates: dict[tuple[str, str], list[Path]] = {}
    seen = 0
    for file in sorted([*tree.glob(PATTERN), *tree.glob(PATTERN.replace("pet_linear", "pet-linear"))]):
        seen += 1
        name = file.name
        if _is_fdg(name) and contains in name and "_pat-" not in name and "_deg-" not in name:
            session = file.parent.parent
            candidates.setdefault((session.parent.name, session.name), []).append(file)
    if not candidates:
        also = f" that has '{contains}' in its name" if contains else ""
        found = f"{seen} files there fit the pattern but not this" if seen else "no file there fits"
        raise InputError(
            f"{tree}: no healthy FDG scan (trc-18FFDG){also} in {PATTERN}; {found}; run 'clinica run pet-linear'"
        )
    for (participant, session_id), files in candidates.items():
        if len(files) > 1:
            listed = ", ".join(file.name for file in files)
            raise InputError(
                f"{tree}: {participant} {session_id} has {len(files)} scans: {listed}; "
                "pick one by a part of its name: PATH:contains=rec-coregiso"
            )
    return {key: files[0] for key, files in sorted(candidates.items())}


def _is_fdg(name: str) -> bool:
    return "18ffdg" in name.lower() or "acq-fdg" in name.lower()


def _hint(tree: Path) -> str:
    """Where the tree may be instead."""
    if tree.name == "subjects":
        return f"give {tree.parent}"
    for inner in sorted(tree.glob("*/subjects"))[:1]:
        return f"did you mean {inner.parent}?"
    return "looked for subjects/sub-*/ses-*/pet_linear/ (the output folder of 'clinica run pet-linear')"


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; it was there when the tree was opened") from None
