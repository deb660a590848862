"""`uadbench report`: an HTML page with figures and tables of one result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import Unfinished


def report(
    run: Annotated[Path, typer.Argument(help="Run folder or its result.json.")],
    output: Annotated[Path | None, typer.Option(help="Folder for the report. Default: RUN/report.")] = None,
    track: Annotated[
        bool, typer.Option(help="Also log the report to the MLflow run of this result, if there is one.")
    ] = True,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow address to which the result was logged. Default: the database in the output folder of the "
            "run.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths of the written files as JSON.")] = False,
) -> None:
    """Write a self-contained HTML report of a result, with figures and tables.

    Contains the figures and tables of the reference paper and additional ones;
    figures are also written as SVG and PNG, tables as CSV.
    """
    from uadbench.cli.runs import require_run
    from uadbench.report.page import write_report
    from uadbench.results.schema import read_result
    from uadbench.results.scores import SCORES, read_scores_of
    from uadbench.runtime.files import require_folder, require_inside
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.tracking import attach, require_address, was_logged

    progress = TerminalProgress()
    require_run(run, "uadbench", "report")
    track = track and tracking_uri != "none"
    if track and tracking_uri:
        require_address(tracking_uri)
    result = read_result(run)
    source = run if run.is_dir() else run.parent
    scores = read_scores_of(result, source / SCORES)
    folder = output or source / "report"
    require_inside(folder if output else source, *(folder / part / "x" for part in ("", "figures", "tables")))
    require_folder(folder)
    written = write_report(result, scores, source, folder, progress)
    logged = None
    if track:
        try:
            logged = attach(result, source, written, tracking_uri)
            if logged is None and was_logged(source):
                progress.notice("not logged to MLflow: give the address of this result's log with --tracking-uri")
        except Unfinished as error:
            progress.warning(f"{error}; the report is saved in {folder}")
    if as_json:
        files = sorted(str(file) for file in written.files if file != written.page)
        print(json.dumps({"page": str(written.page), "files": files, "mlflow_run": logged}, indent=2))
        return
    print(f"report   {written.page}")
    print(f"figures  {folder / 'figures'}\ntables   {folder / 'tables'}")
    if logged:
        print(f"MLflow   run {logged}, artifacts 'report'")
