"""`uadbench simulate`: simulation of hypometabolism in scans on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from uadbench.runtime.plurals import counted


def simulate(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="NIfTI file, table with a path column, or CAPS folder.")
    ],
    anomaly: Annotated[
        list[str],
        typer.Option(help="Dementia to simulate: ad, bvftd, lvppa, svppa, nfvppa or pca. May be repeated."),
    ],
    severity: Annotated[
        list[float],
        typer.Option(help="Reduction of uptake in the mask, for example 0.3 for 30 %. May be repeated."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the images and the table.")],
    nan: Annotated[
        Literal["refuse", "zero"], typer.Option(help="Files with NaN voxels: 'refuse' them, or set NaN to 'zero'.")
    ] = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Simulate hypometabolism of dementias in scans.

    Writes the altered scan x', the smoothed mask and the reduction map, all on
    the grid of the scan, and a table.
    """
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.simulation import files

    table = files.simulate(source, anomaly, severity, output, TerminalProgress(), nan=nan)
    if as_json:
        print(table.to_json(orient="records", indent=2))
        return
    for row in table.itertuples():
        print(f"{output / str(row.altered)}   effective reduction {row.effective_reduction:.1%} of {row.severity:.0%}")
    print(f"{counted(len(table), 'altered scan')}; table: {output / 'simulated.tsv'}")
