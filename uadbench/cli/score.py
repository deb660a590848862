"""`uadbench score`: the answers of a tool in any language, scored like a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import Unfinished

if TYPE_CHECKING:
    from uadbench.runs.keys import Outcome


def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An export, with reconstructions/, maps/ or both.")],
    name: Annotated[str, typer.Option(help="What the tool is called, such as spm12.")],
    reference: Annotated[str, typer.Option(help="The tool's publication.")] = "",
    cohort: Annotated[
        str | None,
        typer.Option(help="Where the export's cohort lies. Default: where it lay then; a private one must be named."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow: sqlite:///PATH, http://HOST:PORT, or 'none'. Default: the environment's MLFLOW_TRACKING_URI, "
            "else sqlite in OUTPUT."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score what a tool wrote back into the folder of 'uadbench testset export'.

    Every file is checked before anything is scored. A scoring that was stopped continues where it was.
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
        raise Unfinished("stopped; give the same command again to continue where it was") from None
    (outcome,) = sweep.outcomes
    if as_json:
        told = {"folder": str(outcome.folder), "result": outcome.result.model_dump(mode="json")}
        print(json.dumps(told, indent=2))
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
