"""Scans on one grid in one file that only grows, with an index: what is in it is never made again."""

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
"""After so many scans what was written is made sure of; a process that is killed loses no more."""


class CachedScan(NamedTuple):
    """A scan in the cache: its place, its range at the resolution it was stored in, its image's SHA-256, and a seal."""

    slot: int
    minimum: float
    maximum: float
    digest: str
    seal: str


@dataclass(frozen=True)
class ImageCache:
    """A folder with `images.f32`, (slots, X, Y, Z) float32 in C order, and `index.jsonl`, one line a scan.

    A scan is known by its key (`Cohort.scan_keys`). A line of the index is written after its image, so that whatever
    kills a process, the index tells of whole images only; a slot is never written twice. What is `private` only the
    owner of the files may read.
    """

    folder: Path
    grid: Grid
    private: bool = False

    @property
    def mode(self) -> int:
        """The permissions of its files."""
        return 0o600 if self.private else 0o644

    @property
    def bytes_each(self) -> int:
        """How long an image is."""
        return 4 * self.grid.size

    def entries(self) -> dict[str, CachedScan]:
        """What the index tells, by key; lines that are damaged are left out."""
        try:
            lines = (self.folder / INDEX).read_bytes().split(b"\n")
        except OSError:
            return {}
        found = {}
        for line in lines:
            try:
                key, *rest = json.loads(line)
                entry = CachedScan(int(rest[0]), float(rest[1]), float(rest[2]), str(rest[3]), str(rest[4]))
            except (ValueError, TypeError, IndexError, OverflowError, RecursionError):
                continue
            found[str(key)] = entry
        return found

    def sound(self, entries: Mapping[str, CachedScan]) -> set[str]:
        """The keys whose image is what was stored. Reads every image once, a few in memory at a time."""
        try:
            images = os.open(self.folder / IMAGES, os.O_RDONLY)
        except FileNotFoundError:
            return set()
        slots = os.fstat(images).st_size // self.bytes_each

        def good(entry: CachedScan) -> bool:
            if not 0 <= entry.slot < slots:
                return False
            raw = os.pread(images, self.bytes_each, entry.slot * self.bytes_each)
            found = digest(raw)
            return found == entry.digest and seal(found, (entry.minimum, entry.maximum)) == entry.seal

        try:
            with ThreadPoolExecutor(2) as pool:  # hashing lets go of the interpreter: 1 GB takes about half a second
                return {key for key, kept in zip(entries, pool.map(good, entries.values()), strict=True) if kept}
        finally:
            os.close(images)

    def mapped(self, slots: int) -> npt.NDArray[np.float32]:
        """The first images, (slots, X, Y, Z) float32, read-only, mapped into memory."""
        return np.memmap(self.folder / IMAGES, np.float32, "r", shape=(slots, *self.grid.shape))


@dataclass
class Writer:
    """Adds scans to a cache, as a context manager; whoever uses it holds the cache's lock."""

    cache: ImageCache
    _pending: list[str] = field(default_factory=list)

    def __enter__(self) -> Writer:
        make_folder(self.cache.folder, private=self.cache.private)
        self._images = os.open(self.cache.folder / IMAGES, os.O_RDWR | os.O_CREAT, self.cache.mode)
        # behind all that was ever written, be it known to the index or not
        self._slot = -(-os.fstat(self._images).st_size // self.cache.bytes_each)
        return self

    def add(self, key: str, image: Volume, extent: tuple[float, float]) -> None:
        """Write one image, (X, Y, Z) float32.

        Raises:
            OSError: When the disk is full.
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
    """SHA-256 of an image's bytes."""
    return hashlib.sha256(raw).hexdigest()


def seal(image: str, extent: tuple[float, float]) -> str:
    """A hash of an image's digest with the range by which it may be scaled."""
    return hashlib.sha256(image.encode() + struct.pack("<2d", *extent)).hexdigest()[:16]
