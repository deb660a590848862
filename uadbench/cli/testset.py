"""`uadbench testset`: export of the test set as NIfTI files, and its overlap with the tuning lesions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError, Unfinished
from uadbench.runtime.commands import command

app = typer.Typer(
    help="Export the test set for tools in any language; compare it with tuning lesions.", no_args_is_help=True
)


@app.callback()
def testset() -> None:
    """Export the test set; compare it with the tuning lesions."""


@app.command("export")
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty folder, or an interrupted export to complete.")
    ],
    protocol: Annotated[str, typer.Option(help="Protocol: a name or a TOML file.")] = "quick",
    cohort: Annotated[
        str | None,
        typer.Option(
            help="Cohort to export: 'phantom', a CAPS folder, or a .tsv or .csv table of scans. Default: that of the "
            "protocol."
        ),
    ] = None,
    healthy: Annotated[
        str | None,
        typer.Option(help="Diagnoses of healthy people, for example CN or CN,SMC. Default: those of the protocol."),
    ] = None,
    patients: Annotated[
        str | None,
        typer.Option(help="Diagnoses of patients, for example AD or AD,MCI. Default: those of the protocol."),
    ] = None,
    fold: Annotated[int, typer.Option(min=0, help="Fold, which sets the training and validation participants.")] = 0,
    severities: Annotated[
        str | None,
        typer.Option(help="Severities to export, for example 0.1,0.3; the result is then unranked. Default: all."),
    ] = None,
    anomalies: Annotated[
        str | None,
        typer.Option(
            help="Dementias to export, for example ad,pca, besides the test sets unseen, varied and hyper; the result "
            "is then unranked. Default: all."
        ),
    ] = None,
    uncompressed: Annotated[
        bool, typer.Option("--uncompressed", help="Write .nii instead of .nii.gz, for example for SPM.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the number and size of the images; write nothing.")
    ] = False,
) -> None:
    """Export the images of a protocol for a tool in any language.

    File names do not reveal which test images are altered. The tool writes
    reconstructions or anomaly maps into the same folder, as DIR/README.md
    explains, and 'uadbench score DIR' scores them. If the export is
    interrupted, the same command completes it.
    """
    from uadbench.cli.words import words
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.exchange.export import export_size, export_testset
    from uadbench.exchange.inputs import image_counts
    from uadbench.exchange.manifest import manifest_of
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import Selection, plan_fold
    from uadbench.runtime.files import require_folder
    from uadbench.runtime.terminal import TerminalProgress

    progress = TerminalProgress()
    if not dry_run:
        require_folder(folder)
    chosen = load_protocol(protocol, _restricted(protocol, severities, anomalies))
    reference = cohort or chosen.cohort
    selection = Selection(words("--healthy", healthy), words("--patients", patients))
    fold_data = plan_fold(open_and_warn(reference, progress), chosen, fold, progress, selection)
    count = image_counts(fold_data)
    print(
        f"{count['train']} training, {count['validation']} validation and {count['test']} test images of "
        f"{chosen.lattice}: at most {export_size(fold_data) / 1e9:.2g} GB"
    )
    shares = ", ".join(f"{name} {part:.0%}" for name, part in fold_data.cases.effective_shares.items())
    print(f"effective reduction in the truth, as a share of the severity: {shares}")
    if dry_run:
        return
    manifest = manifest_of(fold_data, reference, ".nii" if uncompressed else ".nii.gz")
    try:
        export_testset(fold_data, manifest, folder, progress)
    except KeyboardInterrupt:
        raise Unfinished("stopped; give the same command again to complete the export") from None
    source = None if manifest.cohort.reference else reference
    score = command("uadbench", "score", folder, name="mytool", cohort=source)
    print(f"export complete; read {folder / 'README.md'}, run your tool, and score it with: {score}")


@app.command("overlap")
def overlap(
    protocol: Annotated[str, typer.Option(help="Protocol: a name or a TOML file.")] = "quick",
    cohort: Annotated[str | None, typer.Option(help="Cohort. Default: that of the protocol.")] = None,
    fold: Annotated[int, typer.Option(min=0, help="Fold, which sets the validation participants.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Print how much tuning lesions overlap with the lesions of the test sets.

    Settings are chosen on tuning lesions, on healthy validation scans. They
    must not resemble a test lesion: the protocol limits the Dice of their
    ground truths.
    """
    from uadbench.cli.fitting import Column, Fitted, terminal
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import plan_fold
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.runtime.threads import numpy_on_one_thread
    from uadbench.simulation.tuning import LesionTruths, overlaps

    progress, chosen = TerminalProgress(), load_protocol(protocol)
    fold_data = plan_fold(open_and_warn(cohort or chosen.cohort, progress), chosen, fold, progress)
    validation, test = (fold_data.names(part) for part in ("validation", "test"))
    with numpy_on_one_thread():
        found = overlaps(chosen, validation, LesionTruths.of(chosen, test))
    lesions, limit = len(validation) * chosen.tuning.cases, chosen.tuning.most_dice
    if as_json:
        sets = {name: dice._asdict() for name, dice in found.items()}
        print(json.dumps({"lesions": lesions, "most_dice": limit, "dice": sets}, indent=2))
        return
    table = Fitted(Column("test set", "name"), "mean Dice", "largest Dice")
    for name, dice in found.items():
        table.add_row(name, f"{dice.mean:.3f}", f"{dice.largest:.3f}")
    print(f"{lesions} tuning lesions on {len(validation)} validation scans; limit of the Dice {limit:g}")
    terminal().print(table)


def _restricted(protocol: str, severities: str | None, anomalies: str | None) -> dict[str, str]:
    """Changes of protocol settings that restrict the test sets."""
    from uadbench.protocols.schema import load_protocol
    from uadbench.registry import did_you_mean
    from uadbench.types import UNSEEN

    section, changes = load_protocol(protocol), dict[str, str]()
    if severities is not None:
        try:
            chosen = sorted({float(part) for part in severities.split(",")})
        except ValueError:
            raise InputError(f"--severities {severities}: give numbers, such as 0.1,0.3") from None
        available = section.testsets.severities
        if not set(chosen) <= set(available):
            listed = ", ".join(f"{severity:g}" for severity in available)
            raise InputError(f"--severities {severities}: protocol {section.name} has {listed}")
        ranking = [severity for severity in section.ranking.severities if severity in chosen]
        if not ranking:
            listed = ", ".join(f"{severity:g}" for severity in section.ranking.severities)
            raise InputError(f"--severities {severities}: give at least one ranking severity ({listed})")
        if chosen != list(available):
            changes |= {"testsets.severities": str(chosen), "ranking.severities": str(ranking)}
    if anomalies is not None:
        names = [part.strip() for part in anomalies.split(",")]
        dementias = list(section.testsets.anomalies)
        for name in names:
            if name not in (*dementias, UNSEEN):
                raise InputError(
                    f"--anomalies: no '{name}' in protocol {section.name}; {did_you_mean(name, dementias)}"
                )
        kept = [name for name in dementias if name in names]
        if not kept:
            raise InputError(f"--anomalies {anomalies}: give at least one dementia of {', '.join(dementias)}")
        if kept != dementias:
            changes["testsets.anomalies"] = str(kept)
    return changes
