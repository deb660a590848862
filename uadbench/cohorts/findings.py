"""What can be wrong with a scan or a table: told at once, or collected for a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


_collected: ContextVar[tuple[list[Finding], bool] | None] = ContextVar("collected", default=None)


def tell(finding: Finding) -> None:
    """Report what is wrong with a cohort's tables: raises ScanError if it is fatal, except inside `collecting`."""
    kept, all_of_them = _collected.get() or ([], False)
    if finding.fatal and not all_of_them:
        raise ScanError(finding)
    kept.append(finding)


@contextmanager
def collecting(fatal: bool = True) -> Iterator[list[Finding]]:
    """Keep what is reported inside in a list, and read on with what is left; without `fatal` only warnings are kept."""
    kept: list[Finding] = []
    token = _collected.set((kept, fatal))
    try:
        yield kept
    finally:
        _collected.reset(token)


def summarised(findings: Sequence[Finding]) -> list[str]:
    """A line for each kind of finding: the first one, and how many more there are."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return [str(first) + (f" ({len(more)} more like it)" if more else "") for first, *more in kinds.values()]
