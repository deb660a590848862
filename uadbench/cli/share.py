"""`uadbench share`: anonymised copies of results for sharing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def share(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    output: Annotated[Path, typer.Option(help="Folder for the files to share; not inside the run folder.")],
    aggregates: Annotated[
        bool, typer.Option("--aggregates", help="Write means and intervals only, without scores of single cases.")
    ] = False,
    digits: Annotated[
        int | None,
        typer.Option(min=1, max=6, help="Round scores to this number of significant digits. Default: no rounding."),
    ] = None,
) -> None:
    """Write an anonymised copy of a result and its scores for sharing.

    Participants, sessions and sites of a private cohort become hashes with a
    secret that stays on this machine; docs/guides/privacy.md explains what this
    protects against. A result that contains an id is refused.
    """
    from uadbench.cli.runs import require_run
    from uadbench.results.anonymise import AGGREGATES, share_aggregates
    from uadbench.results.anonymise import share as write
    from uadbench.results.schema import PEOPLE
    from uadbench.runtime.files import require_folder

    require_run(run, "uadbench", "share")
    require_folder(output)
    if aggregates:
        share_aggregates(run, output, digits)
        print(f"{output}: {AGGREGATES}")
        return
    result = write(run, output, digits)
    print(f"{output}: result.json, scores.parquet (score hash {result.score_hash[:16]})")
    if not result.cohort.public:
        print(f"do not share {run / PEOPLE}: it links the hashes to participants")
