"""`uadbench share`: what may leave the machine of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def share(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[Path, typer.Option(help="The folder for what may be shared; apart from RUN.")],
    aggregates: Annotated[
        bool, typer.Option("--aggregates", help="Only means and intervals, and no row of a single case.")
    ] = False,
    digits: Annotated[
        int | None, typer.Option(min=1, max=6, help="Round scores to so many significant digits.")
    ] = None,
) -> None:
    """Write a result and its scores, in which nothing follows from the ids of a private cohort.

    Participants, sessions and sites are hashes with a secret of the cohort that stays on this machine.
    docs/guides/privacy.md says what that protects against and what it does not. A result that holds an id is refused.
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
        print(f"who is who is told by {run / PEOPLE}; keep it to yourself")
