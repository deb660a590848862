"""Files that are whole or absent: atomic writes, content hashes, and the cache folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from uadbench.errors import InputError, Unfinished
from uadbench.runtime.parts import PART, part_folder
from uadbench.runtime.reading import read_json
from uadbench.runtime.text import escaped

SEAL = "seal"
"""What a hash of all the rest is called in a file that is sealed."""
LARGEST_SEALED = 16 << 20
"""Bytes of a sealed file, at most."""


class Unwritable(Unfinished, OSError):
    """A file could not be written: the disk is full, or may only be read."""


CACHE = "UADBENCH_CACHE"
"""The environment variable that overrides where the cache is."""


def cache_folder() -> Path:
    """The user's cache folder for uadbench; the environment variable UADBENCH_CACHE overrides it."""
    return own_folder(CACHE, lambda: platformdirs.user_cache_dir("uadbench", appauthor=False))


def own_folder(variable: str, usual: Callable[[], str]) -> Path:
    """A folder of the user's own: what an environment variable says, or the usual one in the home folder.

    Raises:
        InputError: Where this user has no home folder; the message names the variable.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen)
    try:
        folder = Path(usual())
    except RuntimeError:  # newer versions of platformdirs; older ones leave the `~`
        folder = Path("~")
    if not folder.is_absolute():
        raise InputError(f"HOME is not set, and the system knows no home folder of this user; set {variable}")
    return folder


def temporary_place() -> Path:
    """The folder for temporary files: the one that TMPDIR names, or the system's.

    Raises:
        InputError: Where no such folder can be written; the message names TMPDIR.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise InputError("no folder for temporary files can be written; set TMPDIR to one that can") from None


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; move the file there if, and only if, the block succeeds.

    The name ends like the target's, for writers that look at the suffix. What is in the file is on the disk before it
    gets its name, so that it is whole or absent even after a power failure. The folder itself is not flushed: the name
    may be lost then, and code that reads several files checks their hashes.

    Raises:
        Unwritable: For any OSError; the message names the target.
    """
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(target.parent) as folder:
            partial = folder / target.name
            yield partial
            _flush(partial)
            partial.replace(target)


def write_together(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write several files of which the last one vouches for the others.

    First all files are written under temporary names. Then the old last file is removed, and the new files get their
    names in order. A process that is killed in between leaves the last file missing, so that the others do not count,
    and old and new files are never taken as one set. The same command then writes them again.

    Args:
        writers: What writes each file, to a temporary path that it is given.

    Raises:
        Unwritable: A file cannot be written; the message names it, and the old files are unchanged.
    """
    with ExitStack() as stack:
        partials: dict[Path, Path] = {}
        for target, write in writers.items():
            with _naming(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                partials[target] = stack.enter_context(part_folder(target.parent)) / target.name
                write(partials[target])
                _flush(partials[target])
        last = list(writers)[-1]
        with _naming(last):
            last.unlink(missing_ok=True)
        for target, partial in partials.items():
            with _naming(target):
                partial.replace(target)


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Turn any OSError into Unwritable; the message names the target."""
    try:
        yield
    except Unwritable:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        advice = "once it can, the same command goes on from here"
        raise Unwritable(f"{target}: cannot be written ({reason}); {advice}") from None


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people."""
    write_text(target, _as_json(value))


def _as_json(value: Any) -> str:
    return escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def write_sealed(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a hash of its content, which reveals later changes."""
    write_text(target, sealed(value))


def sealed(value: Mapping[str, Any]) -> str:
    """The JSON of an object with a hash of its content, which reveals later changes."""
    return _as_json({**value, SEAL: _seal(value)})


def read_sealed(file: Path) -> dict[str, Any]:
    """Read a JSON object that `write_sealed` wrote; raises OSError, and ValueError as `unsealed` does."""
    return unsealed(read_json(file, LARGEST_SEALED))


def unsealed(content: Any, required: bool = False) -> dict[str, Any]:
    """A JSON object without its seal; one that has none is taken as it is unless a seal is required.

    Raises:
        ValueError: Where it is not what was sealed, or no object.
    """
    if not isinstance(content, dict):
        raise ValueError("holds no JSON object")
    plain = {key: value for key, value in content.items() if key != SEAL}
    if required and content.get(SEAL) is None:
        raise ValueError("has no seal: it was changed since it was written")
    if content.get(SEAL) not in (None, _seal(plain)):
        raise ValueError("is not what was written: it is damaged, or was changed")
    return plain


def _seal(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_hash(file: Path) -> str:
    """SHA-256 (hex) of a file, as sha256sum tells it."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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


def require_inside(folder: Path, *files: Path) -> None:
    """Make sure that writing these files writes into a folder that may have come from anybody, links and all.

    Raises:
        InputError: If a file would lie elsewhere; the message names the link's place.
    """
    home = Path(os.path.realpath(folder))
    for place in dict.fromkeys(file.parent for file in files):
        there = Path(os.path.realpath(place))
        if not there.is_relative_to(home):
            raise InputError(f"{place}: leads out of {folder}, to {there}; nothing is written there: remove the link")


def require_place(target: Path) -> None:
    """Prove that a folder or file can be made here, and leave nothing behind.

    Raises:
        InputError: Where it cannot; the message names the place.
    """
    try:
        there = next(place for place in (target, *target.absolute().parents) if place.exists())
        place = there.parent if there == target and there.is_file() else there
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        with tempfile.TemporaryFile(prefix=PART, dir=place):
            pass
    except OSError as error:
        raise InputError(f"{target}: cannot write here ({error.strerror or error}); choose another folder") from None


def require_folder(folder: Path) -> None:
    """The same for a folder, which may not be a file.

    Raises:
        InputError: Where it cannot be made or written in; the message names the folder.
    """
    require_place(folder)
    if folder.is_file():
        raise InputError(f"{folder}: cannot write here (it is a file); choose another folder")


def require_apart(source: Path, output: Path) -> None:
    """Make sure that what is written into `output` cannot be part of `source`, nor the other way round.

    Raises:
        InputError: Where one of the two is the other or lies in it, links and all; the message names both.
    """
    one, other = (Path(os.path.realpath(path)) for path in (source, output))
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(f"{output}: is {source}, or one lies in the other; give a folder apart from it")


def require_not_read(file: Path, *sources: Path) -> None:
    """Make sure that a file to be written is none of those that are read, nor one in a folder of them, links and all.

    Raises:
        InputError: Naming both.
    """
    there = Path(os.path.realpath(file))
    for source in (Path(os.path.realpath(source.expanduser())) for source in sources):
        if there == source or (there.is_relative_to(source) and there.exists()):
            raise InputError(f"{file}: is part of {source}, which is read; give another output")


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Make a folder; one that is `private` only its owner may enter, even if it was there before.

    Raises:
        OSError: Where it cannot be made, or be made private, as on file systems without permissions (vfat).
    """
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    if private and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise OSError(error.errno, "its file system cannot keep other users out") from None


def require_writable(folder: Path, *, private: bool = False, advice: str = "choose another folder") -> None:
    """Make `folder`, see `make_folder`, and prove that a file can be written in it.

    Raises:
        InputError: Where it cannot; the message names the folder.
    """
    try:
        make_folder(folder, private=private)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{folder}: cannot write here ({reason}); {advice}") from None
