"""The cohort cache: every scan is put on the grid once, and read from disk as one array ever after."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from uadbench import store
from uadbench.cohorts.base import COLUMNS, Cohort
from uadbench.errors import InputError, Unfinished
from uadbench.progress import Progress
from uadbench.types import Grid, Scan, Volume

if TYPE_CHECKING:
    import pandas as pd

REVISION = "1"
"""Changes whenever the same scans would be stored otherwise."""

Positions = Sequence[int] | npt.NDArray[np.int64]

IMAGES, TABLE, META = "images.npy", "table.parquet", "meta.json"


class ScanStack:
    """Scans of one cohort on one grid, one row a scan.

    Parameters
    ----------
    images : (N, X, Y, Z) float32 SUVR, as a rule memory-mapped and read-only
    rows : DataFrame with `base.COLUMNS`, and `minimum` and `maximum`, the scan's range as stored
    grid : the lattice of the images
    positions : the image of each row; by default row i has image i
    """

    def __init__(
        self, images: npt.NDArray[np.float32], rows: pd.DataFrame, grid: Grid, positions: Positions | None = None
    ) -> None:
        self._store = images
        self._positions = np.arange(len(images)) if positions is None else np.asarray(positions, dtype=np.int64)
        self.rows = rows.reset_index(drop=True)
        self.grid = grid
        if len(self.rows) != len(self._positions):
            raise ValueError(f"{len(self.rows)} rows for {len(self._positions)} images")

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def images(self) -> npt.NDArray[np.float32]:
        """(n, X, Y, Z) float32, aligned with `rows`; a view where the rows lie together on disk, else a copy.

        `batch` and `scan` read no more than they return.
        """
        first, count = int(self._positions[0]) if len(self) else 0, len(self)
        if np.array_equal(self._positions, np.arange(first, first + count)):
            return self._store[first : first + count]
        return self._store[self._positions]

    def batch(self, indices: Positions) -> npt.NDArray[np.float32]:
        """The images of these rows, (k, X, Y, Z) float32, in a new array."""
        return np.array(self._store[self._positions[np.asarray(indices, dtype=np.int64)]], dtype=np.float32)

    def scan(self, index: int) -> Scan:
        """Row `index` as a Scan; its data is a read-only view."""
        row = self.rows.iloc[index]
        return Scan(
            participant=row.participant_id,
            session=row.session_id,
            data=np.asarray(self._store[self._positions[index]]),
            affine=self.grid.affine,
            extent=(float(row.minimum), float(row.maximum)),
            age=float(row.age),
            sex=row.sex,
            site=row.site,
            group=row.group,
            mmse=float(row.mmse),
        )

    def select(self, which: Any) -> ScanStack:
        """The rows picked by a boolean mask or by positions, in that order; images are not copied."""
        chosen = np.asarray(which)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return ScanStack(self._store, self.rows.iloc[chosen], self.grid, self._positions[chosen])


def gather(cohort: Cohort, grid: Grid, rows: pd.DataFrame, progress: Progress, rebuild: bool = False) -> ScanStack:
    """The scans of these rows on the grid, from the cache, which is filled first where it must be.

    Parameters
    ----------
    rows : rows of `cohort.participants`
    rebuild : make the cache entry again even if there is a good one

    An entry that is damaged (cut short, unreadable, other content than its hash) is told and made again.
    Raises InputError for a scan that cannot be used, and Unfinished when the disk is full.
    """
    rows = rows.loc[:, list(COLUMNS)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{cohort.name}: no scans were asked for; check the selection")
    key = cache_key(cohort, grid, rows)
    folder = store.cache_folder() / "scans" / key
    if folder.exists() and not rebuild:
        try:
            return _load(folder, grid, rows)
        except Exception as error:  # three libraries read the entry: anything can come out of a damaged file
            progress.warning(f"{folder}: the cache entry is damaged ({' '.join(str(error).split())}); making it again")
    store.require_writable(folder.parent)
    _sweep(folder.parent)
    try:
        _build(folder, cohort, grid, rows, progress)
        return _load(folder, grid, rows)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unfinished(f"{folder}: cannot store scans ({reason}); set UADBENCH_CACHE to another folder") from None


def cache_key(cohort: Cohort, grid: Grid, rows: pd.DataFrame) -> str:
    """What a cache entry depends on, as 32 hex digits."""
    lattice = [list(grid.shape), grid.voxel_mm, list(grid.origin)]
    return store.content_hash(REVISION, cohort.name, cohort.version, cohort.content_key(rows), lattice)[:32]


def _build(folder: Path, cohort: Cohort, grid: Grid, rows: pd.DataFrame, progress: Progress) -> None:
    """Write the entry beside its place, one scan in memory at a time, and move it there when whole."""
    label = f"{cohort.name}: {len(rows)} scans on {grid}"
    with store.atomic_path(folder) as partial, progress.task(label, len(rows)) as task:
        partial.mkdir()
        shape = (len(rows), *grid.shape)
        images = np.lib.format.open_memmap(partial / IMAGES, mode="w+", dtype=np.float32, shape=shape)
        extents, hashes = [], []
        for index, scan in enumerate(cohort.scans(grid, rows)):
            _check_scan(cohort, scan, rows, index, grid)
            images[index] = scan.data
            hashes.append(_hash(images[index]))
            extents.append(scan.extent)
            task.advance(1, scan.participant)
        if len(extents) != len(rows):
            raise Unfinished(f"cohort {cohort.name} gave {len(extents)} scans for {len(rows)} rows")
        images.flush()
        del images
        rows.assign(minimum=[e[0] for e in extents], maximum=[e[1] for e in extents]).to_parquet(partial / TABLE)
        told = {"cohort": cohort.name, "version": cohort.version, "grid": str(grid), "scans": len(rows)}
        store.write_json(partial / META, {**told, "revision": REVISION, "content": store.content_hash(hashes)})


def _check_scan(cohort: Cohort, scan: Scan, rows: pd.DataFrame, index: int, grid: Grid) -> None:
    """A cohort is somebody's code: what it yields must be the row's scan, on the grid, and numbers."""
    name = "_".join(scan.key)
    if index >= len(rows) or scan.key != (rows.participant_id[index], rows.session_id[index]):
        raise Unfinished(f"cohort {cohort.name} gave {name} out of order; its scans() must follow the rows")
    if scan.data.shape != grid.shape:
        raise Unfinished(f"cohort {cohort.name} gave {name} with shape {scan.data.shape} for grid {grid}")
    if not np.isfinite(scan.data).all():
        raise InputError(f"{name} of cohort {cohort.name} has voxels that are NaN or infinite; mend the scan")


def _load(folder: Path, grid: Grid, rows: pd.DataFrame) -> ScanStack:
    """Open an entry and prove that it is whole. Raises OSError or ValueError where it is not.

    Ages and groups come from the cohort's table of today: only the scans' ranges are the cache's.
    """
    import pandas as pd

    images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    if images.shape != (len(rows), *grid.shape) or images.dtype != np.float32:
        raise ValueError(f"images are {images.dtype} {images.shape}")
    table = pd.read_parquet(folder / TABLE)
    keys = ["participant_id", "session_id"]
    if table[keys].to_numpy().tolist() != rows[keys].to_numpy().tolist():
        raise ValueError("its table names other scans")
    with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter: 1 GB takes about half a second
        hashes = list(pool.map(_hash, images))
    if json.loads((folder / META).read_text(encoding="utf-8"))["content"] != store.content_hash(hashes):
        raise ValueError("the images are not what was stored")
    return ScanStack(images, rows.assign(minimum=table["minimum"], maximum=table["maximum"]), grid)


def _hash(image: Volume) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed more than a day ago have left."""
    for leftover in folder.glob(".part-*"):
        if time.time() - leftover.stat().st_mtime > 86400:
            shutil.rmtree(leftover, ignore_errors=True)
