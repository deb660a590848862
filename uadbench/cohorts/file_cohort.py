"""The base class `FileCohort` of cohorts whose scans are NIfTI files: CAPS trees and tables."""

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
from uadbench.cohorts.findings import Finding, ScanError, refuse, report
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
"""Changes whenever the same file would give a different image."""

TISSUE = 0.3
"""The share of the brain's 95th percentile of uptake above which a voxel is considered to contain tissue."""

FILLED = 0.8
"""The smallest share of the brain mask that must contain tissue. Average FDG PET in MNI space fills 99.9 %; a file
whose affine is not MNI fills 68 %."""


class FileCohort:
    """A cohort of scans in files, which are resampled to a grid by their affines.

    Args:
        home: The folder to which paths in keys are relative.
        kind: The prefix of the cohort's name if the user does not give a name.
        files: The file of each (participant, session).
        participants: A table with `base.COLUMNS`, one row per file, sorted.
        visits: All known diagnoses (participant_id, session_id, group), including those of visits without a scan.
        name: The name of the cohort in results; see `FileCohort.name`.
        nan: "refuse" a file with NaN or infinite voxels, or set these voxels to "zero".
        suvr: Use the values "as-is" as SUVR, or divide each scan by its mean over cerebellum and pons.
        space: "check" that a scan fills the MNI brain and refuse it otherwise, or "trust" its affine.

    Raises:
        InputError: If the name contains characters that are not allowed.
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
        """The name of the cohort in results: the user's, or `kind` and eight digits of a hash that uses its secret.

        An unkeyed hash of the identifiers would allow anyone who knows all participants but one to find the remaining
        one by trial and error. Two labs with the same participants and the same secret get the same name.
        """
        return self._given_name or f"{self._kind}-{secret_of(self).seal(self.identity)[:8]}"

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        """Keys that change whenever a file or its processing changes.

        Args:
            rows: Rows of `participants`.

        Returns:
            For each row, a hash of the path, size and modification time of its file and of how it is read and checked.
        """
        return [content_hash(self._relative(file), _state(file), self.version, self.space) for file in self.files(rows)]

    def files(self, rows: pd.DataFrame) -> list[Path]:
        """The files of scans.

        Args:
            rows: Rows of `participants`.

        Returns:
            The file of each row.
        """
        return [self._files[key] for key in keys_of(rows)]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        """Read scans and resample them to a grid, a few files at a time.

        Args:
            grid: The grid.
            rows: Rows of `participants`.

        Yields:
            The scans, in the order of the rows; `Scan.extent` is the range of the voxels in the file.

        Raises:
            ScanError: If a file cannot be used; the message names it.
        """
        waiting: deque[Future[Scan]] = deque()
        pool = ThreadPoolExecutor(self.workers)  # decompression releases the GIL
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
        """Read one scan, and warn if its sform and qform disagree.

        Args:
            file: The file.
            grid: The grid.
            row: The row of `participants`.

        Returns:
            The scan on the grid.

        Raises:
            ScanError: If the file cannot be used.
        """
        image = read_volume(file, self.nan)
        if finding := doubt(file, image.header.forms, image.header.shape):
            report(finding)
        return self.sample(image, grid, row)

    def sample(self, image: Image, grid: Grid, row: pd.Series) -> Scan:
        """Resample a volume to a grid and convert it to SUVR.

        Args:
            image: The volume.
            grid: The grid.
            row: The row of `participants`.

        Returns:
            The scan on the grid.

        Raises:
            ScanError: If the volume is not in MNI space.
        """
        data = atlas.resample(image.data, image.affine, grid.affine, grid.shape)
        low, high = float(image.data.min()), float(image.data.max())
        if self.space == "check" and (share := filled(data, atlas.brain_mask(grid))) < FILLED:
            raise ScanError(not_in_mni(image.path, share))
        if self.suvr == "cerebellum-pons":
            unit = _reference_uptake(image)
            data, low, high = data / np.float32(unit), low / unit, high / unit
        return scan_of(row, grid, data, (low, high))

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.home).as_posix() if file.is_relative_to(self.home) else str(file)


def warn_about_label(file: Path, key: tuple[str, str]) -> None:
    """Warn if the name of a file contains the label of another participant (`sub-`) or session (`ses-`).

    Args:
        file: The file.
        key: The participant and session of the scan.
    """
    for part, own in zip(("sub", "ses"), key, strict=True):
        match = re.search(rf"(?:^|_){part}-([A-Za-z0-9]+)", file.name)
        if match is None:
            continue
        label = canonical(f"ses-{match.group(1)}") if part == "ses" else match.group(1)
        one, other = (re.sub("[^a-z0-9]", "", text.lower().removeprefix(f"{part}-")) for text in (label, own))
        if not one.endswith(other) and not other.endswith(one):
            value = f"is listed as {' '.join(key)}, but its name says {part}-{match.group(1)}"
            advice = "check which participant and session the scan belongs to"
            report(Finding("label mismatch", str(file), value, advice, fatal=False))


def filled(data: Volume, brain: npt.NDArray[np.bool_]) -> float:
    """The share of the brain that contains tissue, which is low for a scan that is not in MNI space.

    Args:
        data: (X, Y, Z) float32, the scan.
        brain: (X, Y, Z) bool, the brain mask.

    Returns:
        The share, 0 to 1; 1 if the mask is empty.
    """
    uptake = data[brain]
    return float((uptake > TISSUE * np.percentile(uptake, 95)).mean()) if len(uptake) else 1.0


def not_in_mni(file: Path, share: float, trusted: bool = False) -> Finding:
    """The finding about a scan that fills too little of the brain mask.

    Args:
        file: The file.
        share: The share of the brain mask that contains tissue.
        trusted: Whether the user trusts the affine, so that the finding is only a warning.

    Returns:
        The finding.
    """
    value = f"it fills only {share:.0%} of the MNI brain, so its affine is probably not MNI"
    register = "register it (clinica run pet-linear)"
    if trusted:
        advice = f"it is used because of space=trust; {register} unless you know that it is in MNI space"
    else:
        advice = f"{register}, or trust its affine: PATH:space=trust"
    return Finding("not MNI", str(file), value, advice, not trusted)


def _reference_uptake(image: Image) -> float:
    """The mean over cerebellum and pons, in the unit of the file. Raises ScanError if it is not positive."""
    shape = (image.data.shape[0], image.data.shape[1], image.data.shape[2])
    inside = _reference(image.affine.tobytes(), shape)
    unit = float(image.data[inside].mean(dtype=np.float64)) if inside.any() else 0.0
    require_reference(image.path, unit)
    return unit


def require_reference(file: Path, unit: float) -> None:
    """Ensure that a scan can be divided by its mean over cerebellum and pons.

    Args:
        file: The file.
        unit: The mean.

    Raises:
        ScanError: If the mean is not positive.
    """
    if not unit > 0:
        advice = "is it in MNI space? register it (clinica run pet-linear), or leave out suvr=cerebellum-pons"
        refuse("no reference", file, "no uptake in cerebellum and pons", advice)


@cache
def _reference(affine: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """The mask of cerebellum and pons (`norms.reference`) on another grid."""
    to_affine: Affine = np.frombuffer(affine).reshape(4, 4)
    mask = norms.reference().astype(np.float32)
    return np.asarray(atlas.resample(mask, norms.BASE.affine, to_affine, shape) > 0.5)


def _state(file: Path) -> list[int]:
    """The size and modification time of a file; empty if it is missing, which causes an error when it is read."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns]
