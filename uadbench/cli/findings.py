"""What a cohort's check-up found, for the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.text import Text

from uadbench.cohorts.checks.cohort import CheckUp
from uadbench.runtime.plurals import counted
from uadbench.runtime.terminal import Terminal

SHOWN = 20
"""So many findings of a kind are shown; `--json` has all."""


def print_check_up(found: CheckUp) -> None:
    """Every kind of finding with its files, their values, and what to do."""
    console = Terminal(soft_wrap=True, highlight=False)
    scans, people = counted(found.scans, "scan"), counted(found.participants, "participant")
    console.print(Text(f"{found.cohort}: {scans} of {people}; {found.people}"))
    for line in found.left_out:
        console.print(Text(line))
    for (fatal, kind), group in groupby(found.findings, key=lambda finding: (finding.fatal, finding.kind)):
        findings = list(group)
        style = "bold red" if fatal else "bold yellow"
        console.print(Text(f"\n{'fatal' if fatal else 'warning'}: {kind} ({len(findings)})", style=style))
        for advice, same in groupby(findings[:SHOWN], key=lambda finding: finding.advice):
            for finding in same:
                console.print(Text(f"  {finding.where}: {finding.value}"))
            console.print(Text(f"    -> {advice}", style="dim"))
        if len(findings) > SHOWN:
            console.print(Text(f"  ... and {len(findings) - SHOWN} more (--json lists all)"))
    warnings = len(found.findings) - found.fatal
    told = f"{found.fatal} fatal, {counted(warnings, 'warning')}" if found.findings else "no problems found"
    console.print(Text(f"\n{told}"))
