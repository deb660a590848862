"""`uadbench testset`: the test set as NIfTI files, for a tool in any language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError, Unfinished
from uadbench.runtime.commands import command

app = typer.Typer(help="The test set as files, for a tool in any language.", no_args_is_help=True)


@app.callback()
def testset() -> None:
    """The test set as files, for a tool in any language."""


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, or an export to complete.")],
    protocol: Annotated[str, typer.Option(help="A protocol's name, or a TOML file.")] = "quick",
    cohort: Annotated[
        str | None,
        typer.Option(help="'phantom', a CAPS folder, or a .tsv or .csv of scans. Default: the protocol's."),
    ] = None,
    healthy: Annotated[str | None, typer.Option(help="Diagnoses of healthy people: CN, or CN,SMC.")] = None,
    patients: Annotated[str | None, typer.Option(help="Diagnoses of patients: AD, or AD,MCI.")] = None,
    fold: Annotated[int, typer.Option(min=0, help="Who trains and validates.")] = 0,
    severities: Annotated[
        str | None, typer.Option(help="Only these, such as 0.1,0.3 (the result is then unranked).")
    ] = None,
    anomalies: Annotated[
        str | None,
        typer.Option(
            help="Only these dementias, such as ad,pca; unseen, varied and hyper always come along "
            "(the result is then unranked)."
        ),
    ] = None,
    uncompressed: Annotated[
        bool, typer.Option("--uncompressed", help="Write .nii, which SPM reads, instead of .nii.gz.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the numbers, and write nothing.")] = False,
) -> None:
    """Write what a model is shown, and nothing that tells which test image is what.

    A tool writes reconstructions or maps back (DIR/README.md tells how), and 'uadbench score DIR' scores them. An
    export that was stopped is completed by the same command.
    """
    from uadbench.cli.display import TerminalProgress
    from uadbench.cli.words import words
    from uadbench.cohorts.opening import open_and_warn
    from uadbench.exchange.export import export_size, export_testset
    from uadbench.exchange.inputs import image_counts
    from uadbench.exchange.manifest import manifest_of
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import Selection, plan_fold
    from uadbench.runtime.files import require_folder

    progress = TerminalProgress()
    if not dry_run:
        require_folder(folder)
    chosen = load_protocol(protocol, _restricted(protocol, severities, anomalies))
    reference = cohort or chosen.cohort
    selection = Selection(words("--healthy", healthy), words("--patients", patients))
    fold_data = plan_fold(open_and_warn(reference, progress), chosen, fold, progress, selection)
    count = image_counts(fold_data)
    print(
        f"{count['train']} images to train, {count['validation']} to validate, {count['test']} to test, each "
        f"{chosen.lattice}: at most {export_size(fold_data) / 1e9:.2g} GB"
    )
    if dry_run:
        return
    manifest = manifest_of(fold_data, reference, ".nii" if uncompressed else ".nii.gz")
    try:
        export_testset(fold_data, manifest, folder, progress)
    except KeyboardInterrupt:
        raise Unfinished("stopped; give the same command again to complete the export") from None
    where = None if manifest.cohort.reference else reference
    then = command("uadbench", "score", folder, name="mytool", cohort=where)
    print(f"{folder}: read {folder / 'README.md'}; then: {then}")


def _restricted(protocol: str, severities: str | None, anomalies: str | None) -> dict[str, str]:
    """The changes of a protocol that make a smaller test set of it."""
    from uadbench.protocols.schema import load_protocol
    from uadbench.registry import did_you_mean
    from uadbench.types import UNSEEN

    section, changes = load_protocol(protocol), dict[str, str]()
    if severities is not None:
        try:
            wanted = sorted({float(part) for part in severities.split(",")})
        except ValueError:
            raise InputError(f"--severities {severities}: give numbers, such as 0.1,0.3") from None
        known = section.testsets.severities
        if not set(wanted) <= set(known):
            told = ", ".join(f"{severity:g}" for severity in known)
            raise InputError(f"--severities {severities}: protocol {section.name} has {told}")
        ranking = [severity for severity in section.ranking.severities if severity in wanted]
        if not ranking:
            told = ", ".join(f"{severity:g}" for severity in section.ranking.severities)
            raise InputError(f"--severities {severities}: give at least one of {told}, from which models are ranked")
        if wanted != list(known):
            changes |= {"testsets.severities": str(wanted), "ranking.severities": str(ranking)}
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
