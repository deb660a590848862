"""`uadbench cohort`: measure a cohort, and write one to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError

app = typer.Typer(help="Cohorts of scans.", no_args_is_help=True)


@app.callback()
def cohort() -> None:
    """Cohorts of scans."""


@app.command("info")
def info(
    cohort: Annotated[str, typer.Argument(help="phantom, phantom:seed=7, or the folder of a CAPS tree.")] = "phantom",
    healthy: Annotated[str, typer.Option(help="The diagnosis of healthy participants.")] = "CN",
    patients: Annotated[str, typer.Option(help="The diagnosis of patients.")] = "AD",
    participants: Annotated[int | None, typer.Option(min=2, help="At most so many healthy participants.")] = None,
    template: Annotated[Path | None, typer.Option(help="A real average FDG PET in MNI space, to lay beside.")] = None,
    output: Annotated[Path, typer.Option(help="Where COHORT/card/ with card.json and card.png goes.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """A cohort's card: its figures beside what is published of healthy FDG PET, pass or fail, and a picture."""
    import json

    from rich.console import Console

    from uadbench.cli.cards import card_table
    from uadbench.cli.display import TerminalProgress
    from uadbench.cohorts.card import draw_card
    from uadbench.cohorts.opening import open_cohort
    from uadbench.report.portrait import draw_portrait
    from uadbench.store import file_name, require_writable, write_json

    source = open_cohort(cohort)
    folder = output / file_name(source.name) / "card"
    require_writable(folder)
    card = draw_card(
        source,
        TerminalProgress(),
        healthy=healthy,
        patients=patients,
        participants=participants,
        template=template,
    )
    write_json(folder / "card.json", card.to_json())
    draw_portrait(card, folder / "card.png")
    if as_json:
        print(json.dumps(card.to_json(), indent=2))
        return
    Console().print(card_table(card))
    print(f"picture: {folder / 'card.png'}\ncard:    {folder / 'card.json'}")


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where the CAPS tree is written.")],
    cohort: Annotated[str, typer.Option(help="The cohort to write.")] = "phantom",
    participants: Annotated[
        int | None, typer.Option(help="Only so many participants, in the order of their ids.")
    ] = None,
    first: Annotated[bool, typer.Option("--baseline", help="Only everybody's first session.")] = False,
) -> None:
    """Write a cohort as a CAPS tree: 169 x 208 x 179 at 1 mm, the names of Clinica's pet-linear, and its TSVs."""
    from uadbench.cli.display import TerminalProgress
    from uadbench.cohorts.export import export_caps
    from uadbench.cohorts.opening import open_cohort
    from uadbench.cohorts.splits import baseline
    from uadbench.store import require_writable

    source = open_cohort(cohort)
    rows = source.participants
    people = list(dict.fromkeys(rows["participant_id"]))
    if participants is not None:
        if not 1 <= participants <= len(people):
            raise InputError(f"--participants {participants}: {source.name} has 1 to {len(people)}")
        rows = rows[rows["participant_id"].isin(people[:participants])].reset_index(drop=True)
    rows = baseline(rows) if first else rows
    require_writable(folder)
    export_caps(source, rows, folder, TerminalProgress())
    print(f"{len(rows)} scans in {folder}; try: uadbench run --model vae3d --protocol smoke --cohort {folder}")
