"""File access: atomic writes, sealed JSON files, content hashes, the cache folder, and checks of output folders."""

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
"""The key of a sealed JSON file that contains the hash of all other content."""
LARGEST_SEALED = 16 << 20
"""The largest size of a sealed file, in bytes."""


class Unwritable(Unfinished, OSError):
    """A file could not be written, for example because the disk is full or read-only."""


CACHE = "UADBENCH_CACHE"
"""The environment variable that overrides the location of the cache."""


def cache_folder() -> Path:
    """The user's cache folder for uadbench; the environment variable UADBENCH_CACHE overrides it."""
    return own_folder(CACHE, lambda: platformdirs.user_cache_dir("uadbench", appauthor=False))


def own_folder(variable: str, usual: Callable[[], str]) -> Path:
    """A folder of the user: the one in an environment variable, or a default folder in the home folder.

    Args:
        variable: The name of the environment variable.
        usual: A function that returns the default folder.

    Returns:
        The folder, which may not exist.

    Raises:
        InputError: If the user has no home folder; the message names the variable.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen)
    try:
        folder = Path(usual())
    except RuntimeError:  # newer versions of platformdirs; older ones leave the `~`
        folder = Path("~")
    if not folder.is_absolute():
        raise InputError(f"HOME is not set, and this user has no home folder; set {variable}")
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
    """Write a file atomically: to a temporary path, which is renamed only if the block succeeds.

    The temporary file has the name of the target, for writers that check the suffix. Its content is flushed to the disk
    before it is renamed, so that the target is complete or absent even after a power failure. The folder is not
    flushed: the name may be lost in a power failure, so code that reads several files checks their hashes.

    Args:
        target: The file to write; its folder is created if needed.

    Yields:
        The temporary path.

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
    """Write a set of files; the presence of the last one shows that the set is complete.

    All files are first written to temporary paths. Then the old last file is removed, and the new files are renamed in
    order. If the process is killed in between, the last file is missing, so that the set is incomplete and old and new
    files are never mixed; rerunning the command writes them again.

    Args:
        writers: For each file, a function that writes it to a temporary path.

    Raises:
        Unwritable: If a file cannot be written; the message names it, and the old files are unchanged.
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
        advice = "once it can be written, rerun the same command to continue"
        raise Unwritable(f"{target}: cannot be written ({reason}); {advice}") from None


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    Args:
        target: The file.
        text: The content.

    Raises:
        Unwritable: If it cannot be written.
    """
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, with indentation.

    Args:
        target: The file.
        value: The content.

    Raises:
        Unwritable: If it cannot be written.
    """
    write_text(target, json_text(value))


def json_text(value: Any) -> str:
    """A value as an indented JSON document, in which characters that steer a terminal are escaped."""
    return escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def write_sealed(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a hash of its content, which reveals later changes.

    Args:
        target: The file.
        value: The object.

    Raises:
        Unwritable: If it cannot be written.
    """
    write_text(target, sealed(value))


def sealed(value: Mapping[str, Any]) -> str:
    """Format an object as JSON with a hash of its content, which reveals later changes.

    Args:
        value: The object.

    Returns:
        The JSON text.
    """
    return json_text({**value, SEAL: _seal(value)})


def read_sealed(file: Path) -> dict[str, Any]:
    """Read a JSON object that `write_sealed` wrote.

    Args:
        file: The file.

    Returns:
        The object without its seal.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the content does not match its seal.
    """
    return unsealed(read_json(file, LARGEST_SEALED))


def unsealed(content: Any, required: bool = False) -> dict[str, Any]:
    """Verify and remove the seal of a JSON object.

    Args:
        content: The parsed JSON.
        required: Whether an object without a seal is refused.

    Returns:
        The object without its seal.

    Raises:
        ValueError: If it is not an object, or does not match its seal.
    """
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")
    plain = {key: value for key, value in content.items() if key != SEAL}
    if required and content.get(SEAL) is None:
        raise ValueError("has no seal: it was changed after it was written")
    if content.get(SEAL) not in (None, _seal(plain)):
        raise ValueError("does not match its seal: it is corrupted, or was changed after it was written")
    return plain


def _seal(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_hash(file: Path) -> str:
    """The SHA-256 of a file, as printed by sha256sum.

    Args:
        file: The file.

    Returns:
        The hash, in hexadecimal.
    """
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """Format a value as canonical JSON: sorted keys, no spaces, no NaN.

    Args:
        value: The value.

    Returns:
        The JSON text.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(*values: Any) -> str:
    """The SHA-256 of several values.

    Args:
        *values: The values; bytes are hashed directly, other values as canonical JSON.

    Returns:
        The hash, in hexadecimal.
    """
    digest = hashlib.sha256()
    for value in values:
        raw = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else canonical(value).encode()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def keyed_seed(*key: Any) -> int:
    """A random seed that is a pure function of its key.

    Args:
        *key: The key, such as (protocol seed, participant, anomaly).

    Returns:
        An integer of 63 bits.
    """
    return int(content_hash(list(key))[:16], 16) >> 1


def file_name(text: str) -> str:
    """Convert a text to a valid file name.

    Args:
        text: The text.

    Returns:
        The text, in which characters other than letters, digits, '-', '_' and '.' are replaced by '-'.
    """
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def require_inside(folder: Path, *files: Path) -> None:
    """Ensure that files to be written lie in a folder, which may contain links from an untrusted source.

    Args:
        folder: The folder.
        *files: The files to be written.

    Raises:
        InputError: If a link leads out of the folder; the message names it.
    """
    home = Path(os.path.realpath(folder))
    for parent in dict.fromkeys(file.parent for file in files):
        target = Path(os.path.realpath(parent))
        if not target.is_relative_to(home):
            raise InputError(f"{parent}: leads out of {folder} to {target}; nothing is written there; remove the link")


def require_place(target: Path) -> None:
    """Verify that a folder or file can be created; nothing is left behind.

    Args:
        target: The folder or file.

    Raises:
        InputError: If it cannot be created; the message names it.
    """
    try:
        existing = next(path for path in (target, *target.absolute().parents) if path.exists())
        folder = existing.parent if existing == target and existing.is_file() else existing
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file")
        with tempfile.TemporaryFile(prefix=PART, dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{target}: cannot write here ({error.strerror or error}); choose another folder") from None


def require_folder(folder: Path) -> None:
    """Verify that a folder can be created or written to; nothing is left behind.

    Args:
        folder: The folder.

    Raises:
        InputError: If it is a file, or cannot be created or written to; the message names it.
    """
    require_place(folder)
    if folder.is_file():
        raise InputError(f"{folder}: cannot write here (it is a file); choose another folder")


def require_apart(source: Path, output: Path) -> None:
    """Ensure that an output folder and a source folder do not overlap, after resolving links.

    Args:
        source: The folder to read.
        output: The folder to write.

    Raises:
        InputError: If they are the same or one lies in the other; the message names both.
    """
    one, other = (Path(os.path.realpath(path)) for path in (source, output))
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(f"{output}: is the same as {source}, or one lies in the other; give a separate folder")


def require_not_read(file: Path, *sources: Path) -> None:
    """Ensure that a file to be written is not one of the input files, after resolving links.

    Args:
        file: The file to be written.
        *sources: The input files and folders.

    Raises:
        InputError: If it is an input, or an existing file in an input folder; the message names both.
    """
    target = Path(os.path.realpath(file))
    for source in (Path(os.path.realpath(source.expanduser())) for source in sources):
        if target == source or (target.is_relative_to(source) and target.exists()):
            raise InputError(f"{file}: is part of the input {source}; give another output")


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Create a folder if it does not exist.

    Args:
        folder: The folder.
        private: Whether to restrict access to the owner, even if the folder exists already.

    Raises:
        OSError: If it cannot be created, or be made private, as on file systems without permissions (vfat).
    """
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    if private and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise OSError(error.errno, "its file system cannot keep other users out") from None


def require_writable(folder: Path, *, private: bool = False, advice: str = "choose another folder") -> None:
    """Create a folder and verify that files can be written in it.

    Args:
        folder: The folder.
        private: Whether to restrict access to the owner.
        advice: The end of the error message.

    Raises:
        InputError: If it cannot be created or written to; the message names it.
    """
    try:
        make_folder(folder, private=private)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{folder}: cannot write here ({reason}); {advice}") from None
