"""`uadbench track`: log a result to MLflow later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError


def track(
    run: Annotated[Path, typer.Argument(help="A run folder or its result.json.")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="sqlite:///PATH or http://HOST:PORT. Default: MLFLOW_TRACKING_URI, else sqlite in 'runs'."),
    ] = None,
) -> None:
    """Log a finished result to MLflow, such as one whose server was away when it was made."""
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
        raise InputError("--tracking-uri none: this command only logs; give sqlite:///PATH or http://HOST:PORT")
    tracker = Tracker(uri, f"{result.model.name} ({result.protocol.name})", Path("runs"))
    read_scores_of(result, folder / SCORES)
    draw(Outcome(result, folder, reused=False), TerminalProgress())  # anew: what lies there may be anything
    run_id = tracker.log(result, folder)
    tracker.close()
    print(f"logged to {uri}{chosen_by(tracking_uri)}, run {run_id}")
