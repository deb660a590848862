"""`uadbench share`: what may leave the machine of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def share(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[Path, typer.Option(help="The folder for result.json and scores.parquet.")],
) -> None:
    """Write a result and its scores with participants, sessions and sites of a private cohort as hashes.

    The hashes carry a secret of the cohort that stays on this machine, so that your own results stay paired and nobody
    else can tell who is who. A result that holds an id is refused.
    """
    from uadbench.cli.runs import require_run
    from uadbench.sharing import salt_file
    from uadbench.sharing import share as write
    from uadbench.store import require_folder

    require_run(run, "uadbench", "share")
    require_folder(output)
    result = write(run, output)
    print(f"{output}: result.json, scores.parquet (score hash {result.score_hash[:16]})")
    if not result.cohort.public:
        secret = salt_file(result.cohort.tested_on or result.cohort.name)
        print(f"participants are hashed with the secret in {secret}; keep it, and keep it to yourself")
