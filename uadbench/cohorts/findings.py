"""What can be wrong with a scan or a table: told at once, or collected for a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

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


class _Collected(NamedTuple):
    kept: list[Finding]
    fatal: bool


_collected: ContextVar[_Collected | None] = ContextVar("collected", default=None)


def refuse(kind: str, path: Path, value: str, advice: str) -> NoReturn:
    """Raise ScanError."""
    raise ScanError(Finding(kind, str(path), value, advice)) from None


def tell(finding: Finding) -> None:
    """Report what is wrong with a cohort: raises ScanError if it is fatal, except inside `collecting`."""
    collected = _collected.get()
    if collected is not None and (collected.fatal or not finding.fatal):
        collected.kept.append(finding)
    elif finding.fatal:
        raise ScanError(finding)


@contextmanager
def collecting(fatal: bool = True) -> Iterator[list[Finding]]:
    """Keep what is reported inside in a list, and read on with what is left.

    With `fatal=False` only warnings are kept, and fatal findings are raised.
    """
    kept: list[Finding] = []
    token = _collected.set(_Collected(kept, fatal))
    try:
        yield kept
    finally:
        _collected.reset(token)


def in_lines(findings: Iterable[Finding]) -> list[str]:
    """One line for each kind of finding: the first by name, and how many there are."""
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(set(findings), key=lambda finding: (finding.kind, finding.where)):
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    for first, *others in kinds.values():
        more = f" (the first of {len(others) + 1})" if others else ""
        lines.append(f"{first.where}: {first.value}{more}; {first.advice}")
    return lines
