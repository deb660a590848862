"""A run that failed for good says so in its run folder, until it succeeds."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from uadbench.errors import UadbenchError
from uadbench.runtime.files import write_json
from uadbench.runtime.reading import read_document

FAILURE = "failure.json"
LARGEST = 1 << 20
"""Bytes of such a file, at most."""


@dataclass(frozen=True)
class Failure:
    """Why a run has no result, after how many attempts, on which machine, and when (UTC)."""

    error: str
    attempts: int
    host: str
    when: str


def reason(error: BaseException) -> str:
    """An error in one line; what is no error of uadbench is called by its class."""
    if isinstance(error, UadbenchError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return f"out of memory ({text[:200] or 'no more was told'}); make the model smaller, or give it more memory"
    return f"{type(error).__name__}: {text}"


def record(folder: Path, error: str, attempts: int = 1, host: str = "") -> None:
    """Leave the reason in a run folder; where even that cannot be written, the command's own message must do."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        write_json(folder / FAILURE, asdict(Failure(error, attempts, host or socket.gethostname(), when)))
    except OSError:
        return


def recorded(folder: Path) -> Failure | None:
    """The failure that a run folder tells of, if it does."""
    try:
        return TypeAdapter(Failure).validate_json(read_document(folder / FAILURE, LARGEST))
    except (OSError, ValidationError):
        return None


def forget(folder: Path) -> None:
    """The run is begun again, or done."""
    (folder / FAILURE).unlink(missing_ok=True)
