"""Scans that lie in NIfTI files: what CAPS trees and tables of files share."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.cohorts.base import keys_of, scan_of
from uadbench.cohorts.findings import Finding, ScanError, refuse, tell
from uadbench.cohorts.io.forms import doubt
from uadbench.cohorts.io.nifti import Image, read_volume
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.secrecy import secret_of
from uadbench.cohorts.synthetic import norms
from uadbench.errors import InputError
from uadbench.runtime.files import content_hash
from uadbench.space import atlas
from uadbench.types import Affine, Grid, Scan, Volume

READER = "3"
"""Changes whenever the same file would give another image."""

TISSUE = 0.3
"""A voxel holds tissue where its uptake is above this share of the brain's 95th percentile."""

FILLED = 0.8
"""The least share of the brain mask that must hold tissue. Average FDG PET in MNI space fills 99.9 %, a file whose
affine is not MNI 68 %."""


class FileCohort:
    """Scans in files, put on a grid through their affines.

    Args:
        home: The folder that file names are told from.
        kind: Begins the name, where the user gives none.
        files: (participant, session) -> file.
        participants: The table of `base.COLUMNS`, one row a file, sorted.
        visits: Every known diagnosis (participant_id, session_id, group), also of visits without a scan.
        name: What the cohort is called in results, see `FileCohort.name`.
        nan: What to do with voxels that are NaN or infinite.
        suvr: Take the files' values as SUVR, or divide each scan by its mean over cerebellum and pons.
        space: Refuse a scan that does not fill the MNI brain, or trust that it is where it should be.
    """

    public = False
    workers = min(8, os.cpu_count() or 1)

    def __init__(
        self,
        home: Path,
        kind: str,
        files: Mapping[tuple[str, str], Path],
        participants: pd.DataFrame,
        visits: pd.DataFrame,
        *,
        name: str,
        nan: Literal["refuse", "zero"],
        suvr: Literal["as-is", "cerebellum-pons"],
        space: Literal["check", "trust"],
    ) -> None:
        if name and not all(c.isalnum() or c in "-_." for c in name):
            raise InputError(f"cohort name '{name}': use letters, digits, '-', '_' and '.'")
        self.home = home
        self.participants, self.visits = participants, visits
        self.version = "-".join([READER, *(["nan0"] if nan == "zero" else []), *([suvr] if suvr != "as-is" else [])])
        self.identity = name or f"{kind}-{content_hash(keys_of(participants))[:8]}"
        self._kind, self._given_name = kind, name
        self._files = files
        self.nan, self.suvr, self.space = nan, suvr, space

    @cached_property
    def name(self) -> str:
        """What the cohort is called in results: as the user says, or `kind` and eight digits of a hash with its secret.

        A hash of the ids alone would let whoever knows all but one of the people try out who that one is. Two labs that
        have the same people and the same secret, without which their test sets differ, call the cohort the same.
        """
        return self._given_name or f"{self._kind}-{secret_of(self).seal(self.identity)[:8]}"

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """Of each row its file's path, size and time of change, and how it is read and checked."""
        return [content_hash(self._told(file), _state(file), self.version, self.space) for file in self.files(rows)]

    def files(self, rows: pd.DataFrame) -> list[Path]:
        """The file of each row."""
        return [self._files[key] for key in keys_of(rows)]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Read the rows' files and sample them on the grid, a few at a time, in order.

        `Scan.extent` is the range of the file's own voxels.

        Raises:
            ScanError: Naming the file.
        """
        waiting: deque[Future[Scan]] = deque()
        pool = ThreadPoolExecutor(self.workers)  # inflating lets go of the interpreter
        try:
            for position, file in enumerate(self.files(rows)):
                waiting.append(pool.submit(copy_context().run, self.read, file, grid, rows.iloc[position]))
                if len(waiting) > self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, file: Path, grid: Grid, row: pd.Series) -> Scan:
        """One scan. Tells of affines that disagree.

        Raises:
            ScanError: For a file that cannot be used.
        """
        image = read_volume(file, self.nan)
        if found := doubt(file, image.header.forms, image.header.shape):
            tell(found)
        return self.sample(image, grid, row)

    def sample(self, image: Image, grid: Grid, row: pd.Series) -> Scan:
        """A volume that was read, on the grid, in SUVR.

        Raises:
            ScanError: If it is not in MNI space.
        """
        data = atlas.resample(image.data, image.affine, grid.affine, grid.shape)
        low, high = float(image.data.min()), float(image.data.max())
        if self.space == "check" and (share := filled(data, atlas.brain_mask(grid))) < FILLED:
            raise ScanError(not_in_mni(image.path, share))
        if self.suvr == "cerebellum-pons":
            unit = _reference_uptake(image)
            data, low, high = data / np.float32(unit), low / unit, high / unit
        return scan_of(row, grid, data, (low, high))

    def _told(self, file: Path) -> str:
        return file.relative_to(self.home).as_posix() if file.is_relative_to(self.home) else str(file)


def tell_another(file: Path, key: tuple[str, str]) -> None:
    """Warn of a file whose name has the label of another participant (`sub-`) or session (`ses-`) than its own."""
    for part, own in zip(("sub", "ses"), key, strict=True):
        found = re.search(rf"(?:^|_){part}-([A-Za-z0-9]+)", file.name)
        if found is None:
            continue
        label = canonical(f"ses-{found.group(1)}") if part == "ses" else found.group(1)
        one, other = (re.sub("[^a-z0-9]", "", text.lower().removeprefix(f"{part}-")) for text in (label, own))
        if not one.endswith(other) and not other.endswith(one):
            value = f"is listed as {' '.join(key)}, and its name says {part}-{found.group(1)}"
            tell(Finding("another's file", str(file), value, "make sure whose scan it is", fatal=False))


def filled(data: Volume, brain: npt.NDArray[np.bool_]) -> float:
    """The share of the brain mask, (X, Y, Z) bool, that holds tissue; 1 where the mask is empty."""
    uptake = data[brain]
    return float((uptake > TISSUE * np.percentile(uptake, 95)).mean()) if len(uptake) else 1.0


def not_in_mni(file: Path, share: float, trusted: bool = False) -> Finding:
    """What is said of a scan that fills too little of the brain mask; no more than a warning where it is trusted."""
    value = f"it fills only {share:.0%} of the MNI brain, so its affine is probably not MNI"
    register = "register it (clinica run pet-linear)"
    if trusted:
        advice = f"it is used, as space=trust says; {register} unless you know that it lies in MNI space"
    else:
        advice = f"{register}, or trust it: PATH:space=trust"
    return Finding("not MNI", str(file), value, advice, not trusted)


def _reference_uptake(image: Image) -> float:
    """Mean over cerebellum and pons, in the file's unit. Raises ScanError where there is none."""
    shape = (image.data.shape[0], image.data.shape[1], image.data.shape[2])
    inside = _reference(image.affine.tobytes(), shape)
    unit = float(image.data[inside].mean(dtype=np.float64)) if inside.any() else 0.0
    require_reference(image.path, unit)
    return unit


def require_reference(file: Path, unit: float) -> None:
    """Raises ScanError where nothing can be divided by the mean over cerebellum and pons."""
    if not unit > 0:
        advice = "is it in MNI space? register it (clinica run pet-linear), or leave out suvr=cerebellum-pons"
        refuse("no reference", file, "no uptake in cerebellum and pons", advice)


@cache
def _reference(affine: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Cerebellum and pons on a lattice, as `norms.reference` has them on its own."""
    there: Affine = np.frombuffer(affine).reshape(4, 4)
    mask = norms.reference().astype(np.float32)
    return np.asarray(atlas.resample(mask, norms.BASE.affine, there, shape) > 0.5)


def _state(file: Path) -> list[int]:
    """Size and time of change; nothing of a file that is not there, which fails when it is read."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns]
