"""Findings: problems of scans and tables, which are raised or warned about at once, or collected for a report."""

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
    """A problem of a cohort.

    Attributes:
        kind: A short name, which is the same for all problems of this kind.
        where: The file, or the participant and session.
        value: What is wrong.
        advice: What to do.
        fatal: Whether the problem prevents a run or invalidates its scores.
    """

    kind: str
    where: str
    value: str
    advice: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.value}; {self.advice}"


class ScanError(InputError):
    """A scan cannot be used.

    Args:
        finding: The reason.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class _Collected(NamedTuple):
    kept: list[Finding]
    fatal: bool


_collected: ContextVar[_Collected | None] = ContextVar("collected", default=None)


def refuse(kind: str, path: Path, value: str, advice: str) -> NoReturn:
    """Raise an error for a scan that cannot be used.

    Args:
        kind: The kind of finding.
        path: The file.
        value: What is wrong.
        advice: What to do.

    Raises:
        ScanError: Always.
    """
    raise ScanError(Finding(kind, str(path), value, advice)) from None


def report(finding: Finding) -> None:
    """Report a problem of a cohort.

    Args:
        finding: The problem. Within `collecting` it is collected; elsewhere, a warning has no effect.

    Raises:
        ScanError: If it is fatal and not collected.
    """
    collected = _collected.get()
    if collected is not None and (collected.fatal or not finding.fatal):
        collected.kept.append(finding)
    elif finding.fatal:
        raise ScanError(finding)


@contextmanager
def collecting(fatal: bool = True) -> Iterator[list[Finding]]:
    """Collect the findings that are reported within the context, so that reading continues after a problem.

    Args:
        fatal: Whether to collect fatal findings, too; otherwise they are raised.

    Yields:
        The list to which findings are added.
    """
    kept: list[Finding] = []
    token = _collected.set(_Collected(kept, fatal))
    try:
        yield kept
    finally:
        _collected.reset(token)


def in_lines(findings: Iterable[Finding]) -> list[str]:
    """Summarise findings in one line for each kind: the first finding, and their number.

    Args:
        findings: The findings.

    Returns:
        The lines.
    """
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(set(findings), key=lambda finding: (finding.kind, finding.where)):
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    for first, *others in kinds.values():
        more = f" (the first of {len(others) + 1})" if others else ""
        lines.append(f"{first.where}: {first.value}{more}; {first.advice}")
    return lines
