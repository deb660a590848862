"""`uadbench score`: scoring of the files that an external tool wrote for an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import Unfinished

if TYPE_CHECKING:
    from uadbench.runs.keys import Outcome


def score(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of an export, with reconstructions/, maps/ or both.")
    ],
    name: Annotated[str, typer.Option(help="Name of the tool in results, for example spm12.")],
    reference: Annotated[
        str, typer.Option(help="Publication of the tool, for example 'Author et al. 2024, Journal 1:1'. Default: none.")
    ] = "",
    cohort: Annotated[
        str | None,
        typer.Option(
            help="Cohort of the export: 'phantom', a CAPS folder, or a .tsv or .csv table. Required for a private "
            "cohort. Default: stored in the export."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow address for results: sqlite:///PATH, http://HOST:PORT, or 'none'. Default: the environment "
            "variable MLFLOW_TRACKING_URI, or a database in OUTPUT."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score the files that a tool wrote for an export of the test set.

    See 'uadbench testset export'. All files are checked before scoring starts.
    If scoring is interrupted, the same command continues it.
    """
    import torch

    from uadbench.cli.display import announce
    from uadbench.exchange.scoring import answered_run
    from uadbench.launch.local import run_here
    from uadbench.runtime.files import require_folder
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.tracking import Tracker, chosen_uri

    progress = TerminalProgress()
    require_folder(output)
    uri = chosen_uri(tracking_uri, output)
    tracker = None if uri is None else Tracker(uri, f"{name} (answers in files)", output)
    try:
        run = answered_run(folder, name, progress, reference, cohort)
        announce(progress, uri, tracking_uri)
        sweep = run_here([run], output, torch.device("cpu"), tracker, progress)
    except KeyboardInterrupt:
        raise Unfinished("stopped; give the same command again to continue") from None
    (outcome,) = sweep.outcomes
    if as_json:
        print(json.dumps({"folder": str(outcome.folder), "result": outcome.result.model_dump(mode="json")}, indent=2))
        return
    _print(outcome, None if sweep.untracked else uri)


def _print(outcome: Outcome, uri: str | None) -> None:
    from uadbench.cli.display import whereabouts
    from uadbench.cli.fitting import terminal
    from uadbench.cli.tables import detection_table, models_table, people_tables, restoration_table, severity_table

    console = terminal()
    result = outcome.result
    console.print(models_table([result]))
    console.print(restoration_table([result]))
    console.print(detection_table([result]))
    console.print(severity_table(result))
    console.print(people_tables([result]))
    for line in whereabouts(outcome.folder, uri):
        if not line.startswith("checkpoint"):
            print(line)
    print(f"score hash  {result.score_hash[:16]}  {result.model.name}, answers in files, fold {result.fold}")
