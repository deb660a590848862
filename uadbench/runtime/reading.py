"""Safe reading of untrusted files: only regular files of limited size, and JSON of limited depth and length."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from uadbench.errors import InputError

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_VALUES = 500_000
"""The largest number of values in a JSON document; a result of protocol quick has 25 000."""
MOST_DEPTH = 64
MOST_FAULTS = 100
"""The number of validation errors above which only their number is reported, because listing them would take
gigabytes of memory."""
FORBIDDEN = "Extra inputs are not permitted"
"""The message of pydantic for a key that is not in the schema."""

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


class Unreadable(InputError, OSError):
    """A file is not a regular file, is too large, or does not have the expected content."""


def read_bytes(file: Path, most: int, *, links: bool = False) -> bytes:
    """Read the whole content of a regular file.

    Pipes and devices are not opened, so that reading never blocks.

    Args:
        file: The file.
        most: The largest allowed size, in bytes.
        links: Whether a link to a regular file is allowed, for example for a path from the command line.

    Returns:
        The content.

    Raises:
        FileNotFoundError: If the file does not exist.
        Unreadable: If it is not a regular file, is too large, or cannot be read.
    """
    with open_regular(file, links=links) as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise Unreadable(f"{file}: has {size} bytes; at most {most} are read")
        content = handle.read(size + 1)  # allocates no more than this
    if len(content) > size:
        raise Unreadable(f"{file}: grew while it was being read; try again")
    return content


@contextmanager
def open_regular(file: Path, *, links: bool = False) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Args:
        file: The file.
        links: Whether a link to a regular file is allowed.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: If the file does not exist.
        Unreadable: If it is not a regular file, or cannot be read.
    """
    try:
        _require_regular(file, file.stat(follow_symlinks=links))  # before opening, because opening a device may act
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
        with os.fdopen(descriptor, "rb") as handle:
            _require_regular(file, os.fstat(descriptor))
            yield handle
    except (FileNotFoundError, Unreadable):
        raise
    except (OSError, ValueError) as error:  # ValueError: the path contains a null character
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise Unreadable(f"{file}: cannot be read ({reason})") from None


def _require_regular(file: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        kind = "a link" if stat.S_ISLNK(state.st_mode) else "a folder" if stat.S_ISDIR(state.st_mode) else "a device"
        kind = "a pipe" if stat.S_ISFIFO(state.st_mode) else kind
        raise Unreadable(f"{file}: is {kind}, not a regular file; replace it with the file itself")


def read_json(file: Path, most: int, *, links: bool = False, finite: bool = False) -> Any:
    """Read a JSON document with limited numbers of values and levels and without duplicate keys.

    Args:
        file: The file.
        most: The largest allowed size, in bytes.
        links: Whether a link to a regular file is allowed.
        finite: Whether NaN and infinity, which are not standard JSON, are refused.

    Returns:
        The parsed value.

    Raises:
        FileNotFoundError: If the file does not exist.
        Unreadable: If it is not such a document.
    """
    return _parsed(file, read_bytes(file, most, links=links), finite)


def read_document(file: Path, most: int, *, links: bool = False) -> bytes:
    """Read the bytes of a JSON document for another parser, after the checks of `read_json`.

    Args:
        file: The file.
        most: The largest allowed size, in bytes.
        links: Whether a link to a regular file is allowed.

    Returns:
        The bytes.

    Raises:
        FileNotFoundError: If the file does not exist.
        Unreadable: If it is not such a document.
    """
    content = read_bytes(file, most, links=links)
    _parsed(file, content, finite=False)
    return content


def _parsed(file: Path, content: bytes, finite: bool) -> Any:
    try:
        return parse_json(content, finite=finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{file}: not a readable JSON file ({' '.join(str(error).split())[:200]})") from None


def parse_json(content: bytes | str, *, finite: bool = False) -> Any:
    """Parse JSON with limited numbers of values and levels.

    Args:
        content: The JSON text, or its bytes in UTF-8.
        finite: Whether NaN and infinity are refused.

    Returns:
        The parsed value.

    Raises:
        ValueError: If it is not valid JSON, has too many values or levels, or contains a key twice.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    _require_bounded(text)
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant if finite else None)
    if _HALF_OF_A_PAIR.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # raises UnicodeEncodeError for half of a surrogate pair
    return value


def _require_bounded(text: str) -> None:
    """Raise ValueError for a document with too many values or levels, before it is parsed."""
    depth = values = 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in ("[", "{"):
            depth += 1
        elif sign in ("]", "}"):
            depth -= 1
        values += sign in (",", "[", "{")
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")
        if values > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {twice[:80]!r} twice")
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"it contains {name}")


def first_fault(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """The first violation of a schema.

    Args:
        error: The validation error of pydantic.

    Returns:
        The location in the document and the message; for many violations, () and their number.
    """
    if error.error_count() > MOST_FAULTS:
        return (), f"it violates the schema in {error.error_count()} places"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return first["loc"], first["msg"].removeprefix("Value error, ")
