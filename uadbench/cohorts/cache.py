"""The on-disk cache of a cohort's scans on a grid: an append-only file of images with an index."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from uadbench.runtime.files import make_folder
from uadbench.types import Grid, Volume

IMAGES, INDEX = "images.f32", "index.jsonl"

FLUSHED = 16
"""The number of scans after which written data is flushed to disk; a killed process loses at most this many."""


class CachedScan(NamedTuple):
    """The index entry of a scan in the cache.

    Attributes:
        slot: The position of the image in the file.
        minimum: The smallest SUVR at the original resolution.
        maximum: The largest SUVR at the original resolution.
        digest: The SHA-256 of the image.
        seal: A hash of the digest and the range.
    """

    slot: int
    minimum: float
    maximum: float
    digest: str
    seal: str


@dataclass(frozen=True)
class ImageCache:
    """A cache folder with `images.f32`, (slots, X, Y, Z) float32 in C order, and `index.jsonl`, one line per scan.

    Scans are identified by their keys (`Cohort.scan_keys`). An index line is written after its image, so that the index
    contains only complete images even if a process is killed. A slot is never overwritten.

    Attributes:
        folder: The folder.
        grid: The grid of the images.
        private: Whether only the owner may read the files.
    """

    folder: Path
    grid: Grid
    private: bool = False

    @property
    def mode(self) -> int:
        """The permissions of the files."""
        return 0o600 if self.private else 0o644

    @property
    def bytes_each(self) -> int:
        """The size of an image in bytes."""
        return 4 * self.grid.size

    def entries(self) -> dict[str, CachedScan]:
        """The index entries by key; corrupted lines are left out."""
        try:
            lines = (self.folder / INDEX).read_bytes().split(b"\n")
        except OSError:
            return {}
        entries = {}
        for line in lines:
            try:
                key, *rest = json.loads(line)
                entry = CachedScan(int(rest[0]), float(rest[1]), float(rest[2]), str(rest[3]), str(rest[4]))
            except (ValueError, TypeError, IndexError, OverflowError, RecursionError):
                continue
            entries[str(key)] = entry
        return entries

    def sound(self, entries: Mapping[str, CachedScan]) -> set[str]:
        """Check stored images against their hashes; every image is read once, a few in memory at a time.

        Args:
            entries: The index entries to check, by key.

        Returns:
            The keys whose images are intact.
        """
        try:
            images = os.open(self.folder / IMAGES, os.O_RDONLY)
        except FileNotFoundError:
            return set()
        slots = os.fstat(images).st_size // self.bytes_each

        def good(entry: CachedScan) -> bool:
            if not 0 <= entry.slot < slots:
                return False
            raw = os.pread(images, self.bytes_each, entry.slot * self.bytes_each)
            actual = digest(raw)
            return actual == entry.digest and seal(actual, (entry.minimum, entry.maximum)) == entry.seal

        try:
            with ThreadPoolExecutor(2) as pool:  # hashing releases the GIL: 1 GB takes about half a second
                return {key for key, kept in zip(entries, pool.map(good, entries.values()), strict=True) if kept}
        finally:
            os.close(images)

    def mapped(self, slots: int) -> npt.NDArray[np.float32]:
        """Memory-map images.

        Args:
            slots: The number of images, from the first.

        Returns:
            (slots, X, Y, Z) float32, SUVR, read-only.
        """
        return np.memmap(self.folder / IMAGES, np.float32, "r", shape=(slots, *self.grid.shape))


@dataclass
class Writer:
    """A context manager that adds scans to a cache; the caller must hold the lock of the cache.

    Attributes:
        cache: The cache.
    """

    cache: ImageCache
    _pending: list[str] = field(default_factory=list)

    def __enter__(self) -> Writer:
        make_folder(self.cache.folder, private=self.cache.private)
        self._images = os.open(self.cache.folder / IMAGES, os.O_RDWR | os.O_CREAT, self.cache.mode)
        # after all data that was ever written, whether it is in the index or not
        self._slot = -(-os.fstat(self._images).st_size // self.cache.bytes_each)
        return self

    def add(self, key: str, image: Volume, extent: tuple[float, float]) -> None:
        """Write one image.

        Args:
            key: The key of the scan.
            image: (X, Y, Z) float32, SUVR.
            extent: The smallest and largest SUVR at the original resolution.

        Raises:
            OSError: If the disk is full.
        """
        raw = np.ascontiguousarray(image, dtype=np.float32).data.cast("B")
        at, done = self._slot * self.cache.bytes_each, 0
        while done < len(raw):
            done += os.pwrite(self._images, raw[done:], at + done)
        own = digest(raw)
        self._pending.append(json.dumps([key, self._slot, *extent, own, seal(own, extent)]))
        self._slot += 1
        if len(self._pending) >= FLUSHED:
            self._flush()

    def _flush(self) -> None:
        os.fsync(self._images)
        file = os.open(self.cache.folder / INDEX, os.O_WRONLY | os.O_APPEND | os.O_CREAT, self.cache.mode)
        with os.fdopen(file, "ab") as index:
            index.write("".join(f"\n{line}" for line in self._pending).encode())
            index.flush()
            os.fsync(index.fileno())
        self._pending.clear()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        try:
            if self._pending:
                self._flush()
        finally:
            os.close(self._images)


def digest(raw: bytes | memoryview) -> str:
    """The hash of an image.

    Args:
        raw: The bytes of the image.

    Returns:
        The SHA-256, in hexadecimal.
    """
    return hashlib.sha256(raw).hexdigest()


def seal(image: str, extent: tuple[float, float]) -> str:
    """A hash that protects the index entry of an image.

    Args:
        image: The hash of the image.
        extent: The smallest and largest SUVR at the original resolution, by which the image may be scaled.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.sha256(image.encode() + struct.pack("<2d", *extent)).hexdigest()[:16]
