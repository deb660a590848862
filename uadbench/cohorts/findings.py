"""What can be wrong with a scan or a table: told at once, or collected for a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from uadbench.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One fault of a cohort.

    `kind` is one of a few words, the same for the same fault; `where` names the file, or the participant and
    session; `value` is what was found there, `advice` what to do. A `fatal` one spoils a run or its scores.
    """

    kind: str
    where: str
    value: str
    advice: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.value}; {self.advice}"


class ScanError(InputError):
    """A scan that cannot be used, and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


_collected: ContextVar[list[Finding] | None] = ContextVar("collected", default=None)


def tell(finding: Finding) -> None:
    """Say what is wrong with a cohort's tables: raises ScanError, except inside `collecting`."""
    kept = _collected.get()
    if kept is not None:
        kept.append(finding)
    elif finding.fatal:
        raise ScanError(finding)


@contextmanager
def collecting() -> Iterator[list[Finding]]:
    """Inside, what is told is kept in the list that this gives, and reading goes on with what is left."""
    kept: list[Finding] = []
    token = _collected.set(kept)
    try:
        yield kept
    finally:
        _collected.reset(token)
