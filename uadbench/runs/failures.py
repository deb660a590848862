"""Permanent failures of runs, recorded in the run folder until the run succeeds."""

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
"""Largest size of a failure file, in bytes."""


@dataclass(frozen=True)
class Failure:
    """Why a run has no result, with the number of attempts, the machine, and the time (UTC)."""

    error: str
    attempts: int
    host: str
    when: str


def reason(error: BaseException) -> str:
    """An error as one line; errors from outside uadbench start with their class."""
    if isinstance(error, UadbenchError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return f"out of memory ({text[:200] or 'no details available'}); use a smaller model, or give it more memory"
    return f"{type(error).__name__}: {text}"


def record(folder: Path, error: str, attempts: int = 1, host: str = "") -> None:
    """Record the reason of a failure in a run folder, if the folder can be written."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        write_json(folder / FAILURE, asdict(Failure(error, attempts, host or socket.gethostname(), when)))
    except OSError:
        return


def recorded(folder: Path) -> Failure | None:
    """The failure that is recorded in a run folder, or None."""
    try:
        return TypeAdapter(Failure).validate_json(read_document(folder / FAILURE, LARGEST))
    except (OSError, ValidationError):
        return None


def forget(folder: Path) -> None:
    """Remove the record of a failure, when a run starts again."""
    (folder / FAILURE).unlink(missing_ok=True)
