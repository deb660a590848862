"""`uadbench cohort`: summarise, check, split and export cohorts of scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError, UadbenchError
from uadbench.runtime.commands import command, spelled
from uadbench.runtime.plurals import counted

HEALTHY_HELP = "Diagnoses of healthy people, for example CN or CN,SMC. Default: those of the protocol."
PATIENTS_HELP = "Diagnoses of patients, for example AD or AD,MCI. Default: those of the protocol."

app = typer.Typer(help="Summarise, check, split and export cohorts of scans.", no_args_is_help=True)


@app.callback()
def cohort() -> None:
    """Summarise, check, split and export cohorts of scans."""


@app.command("info")
def info(
    cohort: Annotated[
        str,
        typer.Argument(help="phantom, phantom:seed=7, a CAPS folder, or a .tsv or .csv table of scans."),
    ] = "phantom",
    healthy: Annotated[str, typer.Option(help="Diagnosis of healthy participants.")] = "CN",
    patients: Annotated[str, typer.Option(help="Diagnosis of patients.")] = "AD",
    participants: Annotated[
        int | None, typer.Option(min=2, help="Largest number of healthy participants to use. Default: all.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="NIfTI file of a real average FDG PET in MNI space, to compare with.")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for the summary, written to OUTPUT/COHORT/card/ (card.json, card.png).")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Summarise a cohort and compare it with published values of healthy FDG PET.

    Writes the numbers and a picture.
    """
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
    cohort: Annotated[str, typer.Argument(help="CAPS folder, or .tsv or .csv table of scans.")],
    healthy: Annotated[str, typer.Option(help="Diagnoses of healthy people, for example CN or CN,SMC.")] = "CN",
    patients: Annotated[str, typer.Option(help="Diagnoses of patients, for example AD or AD,MCI.")] = "AD,MCI",
    split: Annotated[
        Path | None, typer.Option(help="Split to check as well: a ClinicaDL split folder or a .json file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read every scan and table, and list problems with advice; changes no file.

    Exit code 0: no fatal problem. 1: a problem would spoil a run or its scores.
    2: the cohort cannot be opened.
    """
    import json

    from uadbench.cli.findings import print_check_up
    from uadbench.cli.words import words
    from uadbench.cohorts.checks.cohort import check_cohort
    from uadbench.cohorts.splits.roles import Roles
    from uadbench.runtime.terminal import TerminalProgress

    roles = Roles(words("--healthy", healthy), words("--patients", patients))
    check_up = check_cohort(cohort, roles, TerminalProgress(), split)
    if as_json:
        print(json.dumps(check_up.to_json(), indent=2))
    else:
        print_check_up(check_up)
    raise typer.Exit(1 if check_up.fatal else 0)


@app.command("split")
def split(
    cohort: Annotated[str, typer.Argument(help="phantom, a CAPS folder, or a .tsv or .csv table of scans.")],
    output: Annotated[Path, typer.Option(help=".json file to write.")],
    protocol: Annotated[str, typer.Option(help="Protocol: a name or a TOML file.")] = "quick",
    healthy: Annotated[str | None, typer.Option(help=HEALTHY_HELP)] = None,
    patients: Annotated[str | None, typer.Option(help=PATIENTS_HELP)] = None,
    source: Annotated[
        Path | None,
        typer.Option("--split", help="ClinicaDL split folder to convert. Default: a new split by the protocol."),
    ] = None,
) -> None:
    """Write the training, validation and test participants of every fold to a file.

    Others who have the same scans can use the file with 'uadbench run --split'.
    It contains participant and session ids, but no images: share it only with
    people who are allowed to know the ids.
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
    print(f"{counted(len(manifest['folds']), 'fold')} in {output}; use it with: {use}")


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="CAPS folder to create.")],
    cohort: Annotated[str, typer.Option(help="Cohort to write, for example phantom or phantom:seed=7.")] = "phantom",
    participants: Annotated[
        int | None, typer.Option(help="Number of participants to write, in the order of their ids. Default: all.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--baseline", help="Write only the first session of each participant.")
    ] = False,
) -> None:
    """Write a cohort as a CAPS folder with images and tables.

    Images have 169 x 208 x 179 voxels of 1 mm, and the file names of Clinica's
    pet-linear pipeline.
    """
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
            raise InputError(f"--participants {participants}: give a number from 1 to {len(people)}")
        rows = rows[rows["participant_id"].isin(people[:participants])].reset_index(drop=True)
    rows = baseline(rows) if first else rows
    require_folder(folder)
    export_caps(source, rows, folder, TerminalProgress())
    print(f"{counted(len(rows), 'scan')} in {folder}; try: {_use_of(folder)}")


def _use_of(folder: Path) -> str:
    """A command for the exported folder: run a model, or check the cohort if there are too few people for a run."""
    from uadbench.cohorts.opening import open_cohort
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import plan_fold

    try:
        plan_fold(open_cohort(spelled(folder)), load_protocol("smoke"), fold=0)
    except UadbenchError:  # also where the tree's secret cannot be kept: the tree itself is whole
        return command("uadbench", "cohort", "check", folder)
    return command("uadbench", "run", model="vae3d", protocol="smoke", cohort=folder)
