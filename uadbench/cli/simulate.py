"""`uadbench simulate`: lay hypometabolism over scans, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from uadbench.runtime.plurals import counted


def simulate(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A NIfTI file, a table with a path column, or a CAPS tree.")
    ],
    anomaly: Annotated[list[str], typer.Option(help="ad, bvftd, lvppa, svppa, nfvppa or pca. May be repeated.")],
    severity: Annotated[list[float], typer.Option(help="Reduction in the mask: 0.3 for 30 %. May be repeated.")],
    output: Annotated[Path, typer.Option(help="Folder for the images and the table.")],
    nan: Annotated[
        Literal["refuse", "zero"], typer.Option(help="NaN voxels: 'refuse' the file, or set them to 'zero'.")
    ] = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Write altered scan x', smoothed mask and reduction map, each on the scan's own lattice, and a table."""
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.simulation import files

    table = files.simulate(source, anomaly, severity, output, TerminalProgress(), nan=nan)
    if as_json:
        print(table.to_json(orient="records", indent=2))
        return
    for row in table.itertuples():
        print(f"{output / str(row.altered)}   effective reduction {row.effective_reduction:.1%} of {row.severity:.0%}")
    print(f"{counted(len(table), 'altered scan')}; table: {output / 'simulated.tsv'}")
