"""`uadbench track`: logging of a finished result to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError


def track(
    run: Annotated[Path, typer.Argument(help="Run folder or its result.json.")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow address: sqlite:///PATH or http://HOST:PORT. Default: the environment variable "
            "MLFLOW_TRACKING_URI, or a database in 'runs'."
        ),
    ] = None,
) -> None:
    """Log a finished result to MLflow, for example if the server was not available during the run."""
    from uadbench.cli.runs import require_run
    from uadbench.launch.sweep import draw
    from uadbench.results.schema import read_result
    from uadbench.results.scores import SCORES, read_scores_of
    from uadbench.runs.keys import Outcome
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.tracking import Tracker, chosen_by, chosen_uri

    require_run(run, "uadbench", "track")
    result = read_result(run)
    folder = run if run.is_dir() else run.parent
    uri = chosen_uri(tracking_uri, Path("runs"))
    if uri is None:
        raise InputError("--tracking-uri none: this command needs an address; give sqlite:///PATH or http://HOST:PORT")
    tracker = Tracker(uri, f"{result.model.name} ({result.protocol.name})", Path("runs"))
    read_scores_of(result, folder / SCORES)
    draw(Outcome(result, folder, reused=False), TerminalProgress())  # draw again, since existing files are untrusted
    run_id = tracker.log(result, folder)
    tracker.close()
    print(f"logged to {uri}{chosen_by(tracking_uri)}, run {run_id}")
