"""The findings of `uadbench cohort check`, printed for the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.text import Text

from uadbench.cohorts.checks.cohort import CheckUp
from uadbench.runtime.plurals import counted
from uadbench.runtime.terminal import Terminal

SHOWN = 20
"""Number of findings of a kind that are shown; `--json` has all."""


def print_check_up(check_up: CheckUp) -> None:
    """Print the findings by kind, with files, values and advice."""
    console = Terminal(soft_wrap=True, highlight=False)
    scans, people = counted(check_up.scans, "scan"), counted(check_up.participants, "participant")
    console.print(Text(f"{check_up.cohort}: {scans} of {people}; {check_up.people}"))
    for line in check_up.left_out:
        console.print(Text(line))
    for (fatal, kind), group in groupby(check_up.findings, key=lambda finding: (finding.fatal, finding.kind)):
        findings = list(group)
        style = "bold red" if fatal else "bold yellow"
        console.print(Text(f"\n{'fatal' if fatal else 'warning'}: {kind} ({len(findings)})", style=style))
        for advice, same in groupby(findings[:SHOWN], key=lambda finding: finding.advice):
            for finding in same:
                console.print(Text(f"  {finding.where}: {finding.value}"))
            console.print(Text(f"    -> {advice}", style="dim"))
        if len(findings) > SHOWN:
            console.print(Text(f"  ... and {len(findings) - SHOWN} more (--json lists all)"))
    warnings = len(check_up.findings) - check_up.fatal
    summary = f"{check_up.fatal} fatal, {counted(warnings, 'warning')}" if check_up.findings else "no problems found"
    console.print(Text(f"\n{summary}"))
