"""`uadbench apply`: apply a trained model to scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def apply(
    run: Annotated[Path, typer.Argument(help="The run folder of the trained model.")],
    scans: Annotated[
        list[str], typer.Argument(help="NIfTI files in MNI space, tables of scans (.tsv, .csv), or CAPS trees.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the files.")],
    suvr: Annotated[
        Literal["as-is", "cerebellum-pons"],
        typer.Option(help="Files: take values as SUVR, or divide by the mean over cerebellum and pons."),
    ] = "as-is",
    nan: Annotated[
        Literal["refuse", "zero"], typer.Option(help="Files: 'refuse' NaN voxels, or set them to 'zero'.")
    ] = "refuse",
    model: Annotated[str | None, typer.Option(help="PATH.py:Class, if the run was of a model in a file.")] = None,
    viewer: Annotated[bool, typer.Option(help="Write an interactive HTML viewer for each scan.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Apply a trained model to scans: reconstruction, anomaly maps, regions, a score among healthy scans.

    Volumes are written on each scan's own lattice. Research software: the output is no diagnosis.
    """
    import json

    from uadbench.api.applying import apply_run
    from uadbench.application.writing import RESEARCH
    from uadbench.cli.fitting import Column, Fitted, terminal
    from uadbench.runtime.terminal import TerminalProgress

    done = apply_run(run, scans, output, suvr, nan, viewer, model, TerminalProgress())
    if as_json:
        print(json.dumps([each.to_json() for each in done], indent=2))
        return
    table = Fitted(
        Column("scan", "name"), "score [SD]", "percentile", "95 %", Column("highest regions", "prose"), title="scans"
    )
    for each in done:
        low, high = each.percentile_interval
        highest = ", ".join(each.regions["region"].head(3))
        table.add_row(each.label, f"{each.score:.2f}", f"{each.percentile:.0%}", f"{low:.0%}-{high:.0%}", highest)
    terminal().print(table)
    print("percentile: share of healthy validation scans that score lower")
    print(f"files    {output}\n{RESEARCH}")
