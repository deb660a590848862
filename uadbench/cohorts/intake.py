"""Access to the scans of a cohort on a grid: each is resampled once, stored in the cache, and then memory-mapped."""

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
"""Changes whenever the same scans would be stored differently."""

MOST_BAD = 20
"""The number of unusable scans after which reading stops."""


class ScanStack:
    """Scans of a cohort on a grid, one row per scan.

    Args:
        images: (slots, X, Y, Z) float32, SUVR, memory-mapped and read-only.
        rows: A DataFrame with `base.COLUMNS`, `slot` (the index of the image), `minimum` and `maximum` (the range of
            the scan at its original resolution, SUVR) and `digest` (the hash of the image).
        grid: The grid of the images.
    """

    def __init__(self, images: npt.NDArray[np.float32], rows: pd.DataFrame, grid: Grid) -> None:
        self._images = images
        self.rows = rows.reset_index(drop=True)
        self.grid = grid

    def __len__(self) -> int:
        return len(self.rows)

    def scan(self, index: int) -> Scan:
        """One scan.

        Args:
            index: The row.

        Returns:
            The scan; its data is a read-only view, whose memory `memory.release_pages` can release.
        """
        row = self.rows.iloc[index]
        extent = float(row.minimum), float(row.maximum)
        return scan_of(row, self.grid, np.asarray(self._images[int(row.slot)]), extent)

    def select(self, which: Any) -> ScanStack:
        """Select rows; images are not copied.

        Args:
            which: A boolean mask, or the row numbers in the desired order.

        Returns:
            The selected scans.
        """
        chosen = np.asarray(which)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return ScanStack(self._images, self.rows.iloc[chosen], self.grid)


def gather(cohort: Cohort, grid: Grid, rows: pd.DataFrame, progress: Progress) -> ScanStack:
    """Get scans on a grid from the cache; missing scans are read and stored first.

    Stored scans are kept if the process is killed, so that the next call continues. Files that have changed are read
    again, as are scans whose stored image does not match its hash. If two processes store scans at the same time, one
    waits for the other.

    Args:
        cohort: The cohort.
        grid: The grid.
        rows: Rows of `cohort.participants`.
        progress: The display of progress and warnings.

    Returns:
        The scans, in the order of the rows.

    Raises:
        InputError: If scans cannot be used; all others are stored before.
        Unfinished: If the disk is full, or the file system has no locks, without which two processes could overwrite
            each other's scans.
    """
    rows = rows.loc[:, list(COLUMNS)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{cohort.name}: no scans were asked for; check the selection")
    keys = cohort.scan_keys(rows)
    cache = ImageCache(cache_folder(cohort, grid), grid, private=not cohort.public)
    advice = f"set {CACHE} to another folder"
    try:
        if cache.private and cache.folder.is_dir():
            make_folder(cache.folder, private=True)  # in earlier versions, other users could read it
        entries, _ = _intact(cache, keys)
        if len(entries) < len({*keys}):
            require_writable(cache.folder, private=cache.private, advice=advice)
            with _locked(cache, progress):
                entries, damaged = _intact(cache, keys)  # another process may have stored scans
                if damaged:
                    progress.warning(f"{cache.folder}: {damaged} stored images are corrupted; reading the scans again")
                missing = [position for position, key in enumerate(keys) if key not in entries]
                _fill(cache, cohort, rows.iloc[missing].reset_index(drop=True), [keys[p] for p in missing], progress)
            entries = cache.entries()
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unfinished(f"{cache.folder}: cannot store scans ({reason}); {advice}; stored scans are kept") from None
    stored = [entries[key] for key in keys]
    for position, name in enumerate(("slot", "minimum", "maximum", "digest")):
        rows[name] = [entry[position] for entry in stored]
    return ScanStack(cache.mapped(1 + max(entry.slot for entry in stored)), rows, grid)


def cache_folder(cohort: Cohort, grid: Grid) -> Path:
    """The folder in which the scans of a cohort on a grid are stored.

    Args:
        cohort: The cohort.
        grid: The grid.

    Returns:
        The folder, which may not exist.
    """
    lattice = [list(grid.shape), grid.voxel_mm, list(grid.origin)]
    return files.cache_folder() / "scans" / content_hash(REVISION, identity(cohort), cohort.version, lattice)[:32]


def _intact(cache: ImageCache, keys: Sequence[str]) -> tuple[dict[str, CachedScan], int]:
    """The stored scans with these keys whose images are intact, and the number of corrupted ones."""
    entries = cache.entries()
    stored = {key: entries[key] for key in keys if key in entries}
    sound = cache.sound(stored) if stored else set()
    return {key: entry for key, entry in stored.items() if key in sound}, len(stored) - len(sound)


@contextmanager
def _locked(cache: ImageCache, progress: Progress) -> Iterator[None]:
    """Hold the lock of the cache, which is released if the process dies. Raises OSError if files cannot be locked."""
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
    """Store the scans of rows, one in memory at a time. Raises InputError at the end if some cannot be used."""
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
        raise InputError(f"{bad[0]}{others}; 'uadbench cohort check' lists all problems; stored scans are kept")


def _usable(cohort: Cohort, grid: Grid, rows: pd.DataFrame, bad: list[ScanError]) -> Iterator[tuple[int, Scan]]:
    """Yield scans with their positions; errors of scans that cannot be used are appended to `bad`."""
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
        except OSError as error:  # from reading scans, not from the cache
            raise Unfinished(f"cohort {cohort.name} could not be read: {error}") from None
    if position < len(rows) and len(bad) < MOST_BAD:
        raise Unfinished(f"cohort {cohort.name} returned {position} scans for {len(rows)} rows")


def _check_scan(cohort: Cohort, scan: Scan, rows: pd.DataFrame, index: int, grid: Grid) -> None:
    """Check a scan from a cohort, which may be third-party code: its row, its grid, and that its values are finite."""
    name = "_".join(scan.key)
    if index >= len(rows) or scan.key != keys_of(rows.iloc[[index]])[0]:
        raise Unfinished(
            f"cohort {cohort.name} returned {name} out of order; its scans() must yield scans in the order of the rows"
        )
    if scan.data.shape != grid.shape:
        raise Unfinished(f"cohort {cohort.name} returned {name} with shape {scan.data.shape} for grid {grid}")
    if not np.isfinite(scan.data).all():
        raise InputError(f"{name} of cohort {cohort.name} has voxels that are NaN or infinite; correct the scan")
