"""Files that are whole or absent: atomic writes, content hashes, and the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from uadbench.errors import InputError


def cache_folder() -> Path:
    """The user's cache folder for uadbench; the environment variable UADBENCH_CACHE overrides it."""
    chosen = os.environ.get("UADBENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("uadbench", appauthor=False))


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; move it there if, and only if, the block succeeds.

    The name ends like the target's, for writers that look at the suffix. The file may be a folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    partial = temporary / target.name
    try:
        yield partial
        if partial.is_file():
            with partial.open("rb+") as handle:
                os.fsync(handle.fileno())
        elif target.is_dir():
            shutil.rmtree(target)
        partial.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def canonical(value: Any) -> str:
    """The one JSON spelling of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(*values: Any) -> str:
    """SHA-256 (hex) of values: bytes as they are, anything else in its canonical JSON."""
    digest = hashlib.sha256()
    for value in values:
        raw = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else canonical(value).encode()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def keyed_seed(*key: Any) -> int:
    """A 63-bit seed that is a pure function of its key, such as (protocol seed, participant, anomaly)."""
    return int(content_hash(list(key))[:16], 16) >> 1


def file_name(text: str) -> str:
    """A name that any file system takes: what is no letter, digit, '-', '_' or '.' becomes '-'."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def require_writable(folder: Path) -> None:
    """Make `folder` and prove that a file can be written in it.

    Raises InputError, naming the folder, where it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{folder}: cannot write here ({reason}); choose another folder") from None
