"""The cohort cache: every scan is put on the grid once, and read from disk as one array ever after."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from uadbench.cohorts.base import COLUMNS, Cohort, keys_of, scan_of
from uadbench.cohorts.cache import CachedScan, ImageCache, Writer
from uadbench.cohorts.findings import ScanError, collecting, in_lines
from uadbench.cohorts.secrecy import identity
from uadbench.errors import InputError, Unfinished
from uadbench.runtime import files
from uadbench.runtime.files import CACHE, content_hash, make_folder, require_writable
from uadbench.runtime.locks import cannot_lock, lock_at
from uadbench.runtime.progress import Progress
from uadbench.types import Grid, Scan

if TYPE_CHECKING:
    import pandas as pd

REVISION = "2"
"""Changes whenever the same scans would be stored otherwise."""

MOST_BAD = 20
"""After so many scans that cannot be used the others are not even looked at."""


class ScanStack:
    """Scans of one cohort on one grid, one row a scan.

    Args:
        images: (slots, X, Y, Z) float32 SUVR, memory-mapped and read-only.
        rows: DataFrame with `base.COLUMNS`, `slot` (its image), `minimum` and `maximum` (the scan's range as stored)
            and `digest` (of its image on the grid).
        grid: The lattice of the images.
    """

    def __init__(self, images: npt.NDArray[np.float32], rows: pd.DataFrame, grid: Grid) -> None:
        self._images = images
        self.rows = rows.reset_index(drop=True)
        self.grid = grid

    def __len__(self) -> int:
        return len(self.rows)

    def scan(self, index: int) -> Scan:
        """Row `index` as a Scan; its data is a read-only view, from which `memory.release_pages` frees memory."""
        row = self.rows.iloc[index]
        extent = float(row.minimum), float(row.maximum)
        return scan_of(row, self.grid, np.asarray(self._images[int(row.slot)]), extent)

    def select(self, which: Any) -> ScanStack:
        """The rows picked by a boolean mask or by positions, in that order; images are not copied."""
        chosen = np.asarray(which)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return ScanStack(self._images, self.rows.iloc[chosen], self.grid)


def gather(cohort: Cohort, grid: Grid, rows: pd.DataFrame, progress: Progress) -> ScanStack:
    """The scans of these rows on the grid, from the cache, which is filled first where it must be.

    Scans that are there are kept whatever happens to the others: a gathering that is killed continues, a file that
    changed is read again, and an image that is damaged (its hash tells) is made again. Two processes may gather at
    once; one waits.

    Raises:
        InputError: For scans that cannot be used, after the others were stored.
        Unfinished: When the disk is full or has no locks: two processes that store at once would overwrite each other's
            scans.
    """
    rows = rows.loc[:, list(COLUMNS)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{cohort.name}: no scans were asked for; check the selection")
    keys = cohort.scan_keys(rows)
    cache = ImageCache(cache_folder(cohort, grid), grid, private=not cohort.public)
    advice = f"set {CACHE} to another folder"
    try:
        if cache.private and cache.folder.is_dir():
            make_folder(cache.folder, private=True)  # earlier versions let others read it
        known, _ = _known(cache, keys)
        if len(known) < len({*keys}):
            require_writable(cache.folder, private=cache.private, advice=advice)
            with _locked(cache, progress):
                known, damaged = _known(cache, keys)  # somebody else may have been at work
                if damaged:
                    progress.warning(f"{cache.folder}: {damaged} images are damaged; making them again")
                missing = [position for position, key in enumerate(keys) if key not in known]
                _fill(cache, cohort, rows.iloc[missing].reset_index(drop=True), [keys[p] for p in missing], progress)
            known = cache.entries()
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unfinished(f"{cache.folder}: cannot store scans ({reason}); {advice}; what is stored is kept") from None
    stored = [known[key] for key in keys]
    for position, name in enumerate(("slot", "minimum", "maximum", "digest")):
        rows[name] = [entry[position] for entry in stored]
    return ScanStack(cache.mapped(1 + max(entry.slot for entry in stored)), rows, grid)


def cache_folder(cohort: Cohort, grid: Grid) -> Path:
    """Where a cohort's scans on a grid are stored."""
    lattice = [list(grid.shape), grid.voxel_mm, list(grid.origin)]
    return files.cache_folder() / "scans" / content_hash(REVISION, identity(cohort), cohort.version, lattice)[:32]


def _known(cache: ImageCache, keys: Sequence[str]) -> tuple[dict[str, CachedScan], int]:
    """What is stored, and sound, of these keys; and how many are damaged."""
    entries = cache.entries()
    wanted = {key: entries[key] for key in keys if key in entries}
    sound = cache.sound(wanted) if wanted else set()
    return {key: entry for key, entry in wanted.items() if key in sound}, len(wanted) - len(sound)


@contextmanager
def _locked(cache: ImageCache, progress: Progress) -> Iterator[None]:
    """Nobody else adds to the cache inside. A process that dies lets go. Raises OSError where nothing can be locked."""
    from filelock import Timeout

    lock = lock_at(cache.folder / "lock", cache.mode)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.notice(f"{cache.folder}: another process is storing scans; waiting for it")
            lock.acquire()
    except (NotImplementedError, OSError) as error:
        if not cannot_lock(error):
            raise
        raise OSError(errno.ENOLCK, "its file system cannot lock files") from None
    try:
        yield
    finally:
        lock.release()


def _fill(cache: ImageCache, cohort: Cohort, rows: pd.DataFrame, keys: Sequence[str], progress: Progress) -> None:
    """Add these rows' scans, one in memory at a time. Raises InputError at the end if some cannot be used."""
    bad: list[ScanError] = []
    label = f"{cohort.name}: {len(rows)} scans on {cache.grid}"
    with Writer(cache) as writer, progress.task(label, len(rows)) as task, collecting(fatal=False) as doubts:
        for position, scan in _usable(cohort, cache.grid, rows, bad):
            _check_scan(cohort, scan, rows, position, cache.grid)
            writer.add(keys[position], scan.data, scan.extent)
            task.advance(1, scan.participant)
    for line in in_lines(doubts):
        progress.warning(line)
    if bad:
        others = "" if len(bad) == 1 else f" (the first of {len(bad)} scans that cannot be used)"
        raise InputError(f"{bad[0]}{others}; 'uadbench cohort check' finds all; scans that were read are kept")


def _usable(cohort: Cohort, grid: Grid, rows: pd.DataFrame, bad: list[ScanError]) -> Iterator[tuple[int, Scan]]:
    """Scans with their positions; those that cannot be used are told in `bad`."""
    position = 0
    while position < len(rows) and len(bad) < MOST_BAD:
        scans = cohort.scans(grid, rows.iloc[position:].reset_index(drop=True))
        try:
            for scan in scans:
                yield position, scan
                position += 1
            break
        except ScanError as error:
            bad.append(error)
            position += 1
        except OSError as error:  # the scans' disk, and not that of the cache
            raise Unfinished(f"cohort {cohort.name} could not be read: {error}") from None
    if position < len(rows) and len(bad) < MOST_BAD:
        raise Unfinished(f"cohort {cohort.name} gave {position} scans for {len(rows)} rows")


def _check_scan(cohort: Cohort, scan: Scan, rows: pd.DataFrame, index: int, grid: Grid) -> None:
    """A cohort is somebody's code: what it yields must be the row's scan, on the grid, and numbers."""
    name = "_".join(scan.key)
    if index >= len(rows) or scan.key != keys_of(rows.iloc[[index]])[0]:
        raise Unfinished(f"cohort {cohort.name} gave {name} out of order; its scans() must follow the rows")
    if scan.data.shape != grid.shape:
        raise Unfinished(f"cohort {cohort.name} gave {name} with shape {scan.data.shape} for grid {grid}")
    if not np.isfinite(scan.data).all():
        raise InputError(f"{name} of cohort {cohort.name} has voxels that are NaN or infinite; mend the scan")
