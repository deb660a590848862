"""The one way to read a file that may have come from anybody: a regular file, of bounded size, before it is decoded."""

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
"""Values of a JSON document, at most; a result of protocol quick has 25 000."""
MOST_DEPTH = 64
MOST_FAULTS = 100
"""A document with more faults is described by their number: a list of them would take gigabytes."""
FORBIDDEN = "Extra inputs are not permitted"
"""What pydantic says of a key that a schema does not have."""

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


class Unreadable(InputError, OSError):
    """A file is not a regular file, is too large, or does not hold what it should."""


def read_bytes(file: Path, most: int, *, links: bool = False) -> bytes:
    """Read a regular file whole.

    Nothing is waited for: neither a pipe nor a device is opened.

    Args:
        file: The file.
        most: How many bytes it may have.
        links: Whether it may be a link to a regular file, as a path that the user gave may be.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        Unreadable: It is something else than a regular file, is too large, or cannot be read.
    """
    with open_regular(file, links=links) as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise Unreadable(f"{file}: has {size} bytes; at most {most} are read")
        content = handle.read(size + 1)  # which is what is allocated
    if len(content) > size:
        raise Unreadable(f"{file}: grows while it is read")
    return content


@contextmanager
def open_regular(file: Path, *, links: bool = False) -> Iterator[BinaryIO]:
    """Open a regular file for reading, as `read_bytes` does, and with its errors."""
    try:
        _require_regular(file, file.stat(follow_symlinks=links))  # to open a device may be to do something
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
        with os.fdopen(descriptor, "rb") as handle:
            _require_regular(file, os.fstat(descriptor))
            yield handle
    except (FileNotFoundError, Unreadable):
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that holds a null character
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise Unreadable(f"{file}: cannot be read ({reason})") from None


def _require_regular(file: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        kind = "a link" if stat.S_ISLNK(state.st_mode) else "a folder" if stat.S_ISDIR(state.st_mode) else "a device"
        kind = "a pipe" if stat.S_ISFIFO(state.st_mode) else kind
        raise Unreadable(f"{file}: is {kind}, not a regular file; put the file itself there")


def read_json(file: Path, most: int, *, links: bool = False, finite: bool = False) -> Any:
    """Read a JSON document whose values, depth and keys are bounded.

    Args:
        file: The file.
        most: How many bytes it may have.
        links: Whether it may be a link.
        finite: Whether NaN and infinity, which are no JSON, are refused.

    Returns:
        The value.

    Raises:
        FileNotFoundError: There is no such file.
        Unreadable: It is no such document.
    """
    return _parsed(file, read_bytes(file, most, links=links), finite)


def read_document(file: Path, most: int, *, links: bool = False) -> bytes:
    """The bytes of a JSON document for a parser that knows its schema, bounded and refused as `read_json` does."""
    content = read_bytes(file, most, links=links)
    _parsed(file, content, finite=False)
    return content


def _parsed(file: Path, content: bytes, finite: bool) -> Any:
    try:
        return parse_json(content, finite=finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{file}: not a readable JSON file ({' '.join(str(error).split())[:200]})") from None


def parse_json(content: bytes | str, *, finite: bool = False) -> Any:
    """Parse JSON.

    Raises:
        ValueError: For a document that is none, has too many values, or a key twice.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    _require_bounded(text)
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant if finite else None)
    if _HALF_OF_A_PAIR.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text: UnicodeEncodeError
    return value


def _require_bounded(text: str) -> None:
    """Raise ValueError for a document with too many values, or values too deep, before any is made."""
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
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {twice[:80]!r} twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def first_fault(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Where a document first does not fit its schema, and why, without a list of thousands of faults."""
    if error.error_count() > MOST_FAULTS:
        return (), f"it does not fit in {error.error_count()} places"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return first["loc"], first["msg"].removeprefix("Value error, ")
