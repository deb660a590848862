"""`uadbench cohort`: look at a cohort, and write one to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError

app = typer.Typer(help="Cohorts of scans.", no_args_is_help=True)


@app.callback()
def cohort() -> None:
    """Cohorts of scans."""


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where the CAPS tree is written.")],
    cohort: Annotated[str, typer.Option(help="The cohort to write.")] = "phantom",
    participants: Annotated[
        int | None, typer.Option(help="Only so many participants, in the order of their ids.")
    ] = None,
) -> None:
    """Write a cohort as a CAPS tree: 169 x 208 x 179 at 1 mm, the names of Clinica's pet-linear, and its TSVs."""
    from uadbench.cli.display import TerminalProgress
    from uadbench.cohorts.export import export_caps
    from uadbench.cohorts.opening import open_cohort
    from uadbench.store import require_writable

    source = open_cohort(cohort)
    rows = source.participants
    people = list(dict.fromkeys(rows["participant_id"]))
    if participants is not None:
        if not 1 <= participants <= len(people):
            raise InputError(f"--participants {participants}: {source.name} has 1 to {len(people)}")
        rows = rows[rows["participant_id"].isin(people[:participants])].reset_index(drop=True)
    require_writable(folder)
    export_caps(source, rows, folder, TerminalProgress())
    print(f"{len(rows)} scans in {folder}; try: uadbench run --model vae3d --protocol smoke --cohort {folder}")
