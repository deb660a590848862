"""`uadbench cohort`: check a cohort, measure it, say who trains and tests, and write one to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError, UadbenchError
from uadbench.runtime.commands import command, spelled
from uadbench.runtime.plurals import counted

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

    from uadbench.cli.cards import card_table
    from uadbench.cli.fitting import terminal
    from uadbench.cohorts.card.card import draw_card
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.report.portrait import draw_portrait
    from uadbench.runtime.files import file_name, require_folder, write_json
    from uadbench.runtime.terminal import TerminalProgress

    progress = TerminalProgress()
    source = open_and_warn(cohort, progress)
    folder = output / file_name(source.name) / "card"
    require_folder(folder)
    card = draw_card(
        source,
        progress,
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
    terminal().print(card_table(card))
    print(f"picture: {folder / 'card.png'}\ncard:    {folder / 'card.json'}")


@app.command("check")
def check(
    cohort: Annotated[str, typer.Argument(help="The folder of a CAPS tree, or a .tsv or .csv of scans.")],
    healthy: Annotated[str, typer.Option(help="Diagnoses of healthy people: CN, or CN,SMC.")] = "CN",
    patients: Annotated[str, typer.Option(help="Diagnoses of patients: AD, or AD,MCI.")] = "AD",
    split: Annotated[
        Path | None, typer.Option(help="ClinicaDL's split folder, or a split's .json, to be checked, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read every scan and table once, and name what is wrong and what to do. Nothing is changed.

    Exit code 0: nothing fatal; 1: something would spoil a run or its scores; 2: there is no cohort to be checked.
    """
    import json

    from uadbench.cli.findings import print_check_up
    from uadbench.cli.words import words
    from uadbench.cohorts.checks.cohort import check_cohort
    from uadbench.cohorts.splits.roles import Roles
    from uadbench.runtime.terminal import TerminalProgress

    roles = Roles(words("--healthy", healthy), words("--patients", patients))
    found = check_cohort(cohort, roles, TerminalProgress(), split)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print_check_up(found)
    raise typer.Exit(1 if found.fatal else 0)


@app.command("split")
def split(
    cohort: Annotated[str, typer.Argument(help="phantom, the folder of a CAPS tree, or a .tsv or .csv of scans.")],
    output: Annotated[Path, typer.Option(help="The .json to write.")],
    protocol: Annotated[str, typer.Option(help="A protocol's name, or a TOML file.")] = "quick",
    healthy: Annotated[str | None, typer.Option(help="Diagnoses of healthy people: CN, or CN,SMC.")] = None,
    patients: Annotated[str | None, typer.Option(help="Diagnoses of patients: AD, or AD,MCI.")] = None,
    source: Annotated[Path | None, typer.Option("--split", help="A split to rewrite: ClinicaDL's folder.")] = None,
) -> None:
    """Write who trains, validates and tests in every fold, for whoever has the same scans.

    The file holds participant and session ids in clear, and no image: share it only with those who may know them.
    """
    from uadbench.cli.words import words
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.cohorts.splits.listed import read_split
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import Selection, split_manifest
    from uadbench.runtime.files import require_not_read, write_json
    from uadbench.runtime.terminal import TerminalProgress

    selection = Selection(
        healthy=words("--healthy", healthy),
        patients=words("--patients", patients),
        split=None if source is None else read_split(source),
    )
    opened = open_and_warn(cohort, TerminalProgress())
    require_not_read(output, Path(cohort.partition(":")[0]), *([] if source is None else [source]))
    manifest = split_manifest(opened, load_protocol(protocol), selection)
    write_json(output, manifest)
    use = command(
        *("uadbench", "run"),
        model="vae3d",
        protocol=protocol,
        cohort=cohort,
        healthy=healthy,
        patients=patients,
        split=output,
    )
    print(f"{counted(len(manifest['folds']), 'fold')} in {output}; use it: {use}")


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
    from uadbench.cohorts.io.export import export_caps
    from uadbench.cohorts.opening import open_cohort
    from uadbench.cohorts.splits.split import baseline
    from uadbench.runtime.files import require_folder
    from uadbench.runtime.terminal import TerminalProgress

    source = open_cohort(cohort)
    rows = source.participants
    people = list(dict.fromkeys(rows["participant_id"]))
    if participants is not None:
        if not 1 <= participants <= len(people):
            raise InputError(f"--participants {participants}: {source.name} has 1 to {len(people)}")
        rows = rows[rows["participant_id"].isin(people[:participants])].reset_index(drop=True)
    rows = baseline(rows) if first else rows
    require_folder(folder)
    export_caps(source, rows, folder, TerminalProgress())
    print(f"{counted(len(rows), 'scan')} in {folder}; try: {_use_of(folder)}")


def _use_of(folder: Path) -> str:
    """What can be done with an exported tree: run a model, or, where there are too few people for that, check it."""
    from uadbench.cohorts.opening import open_cohort
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import plan_fold

    try:
        plan_fold(open_cohort(spelled(folder)), load_protocol("smoke"), fold=0)
    except UadbenchError:  # also where the tree's secret cannot be kept: the tree itself is whole
        return command("uadbench", "cohort", "check", folder)
    return command("uadbench", "run", model="vae3d", protocol="smoke", cohort=folder)
