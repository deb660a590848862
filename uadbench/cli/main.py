"""Entry point of the `uadbench` program: the list of commands, exit codes, and errors in one line."""

from __future__ import annotations

import logging
import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer

from uadbench.cli import (
    apply,
    catalogue,
    check,
    cite,
    cohort,
    compare,
    examine,
    leaderboard,
    new,
    report,
    run,
    score,
    share,
    simulate,
    testset,
    track,
    usage,
)
from uadbench.cli.stopping import stoppable
from uadbench.cli.streams import mended, require_text, require_utf8
from uadbench.errors import UadbenchError, Unfinished

app = typer.Typer(
    name="uadbench",
    cls=usage.Group,
    help="A benchmark of unsupervised anomaly detection on brain FDG PET.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("list")(catalogue.list_plugins)
app.command("show")(catalogue.show)
app.command("apply")(apply.apply)
app.command("simulate")(simulate.simulate)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("check")(check.check)
app.command("cite")(cite.cite)
app.command("share")(share.share)
app.command("score")(score.score)
app.command("track")(track.track)
app.command("test-model")(examine.test_model)
app.add_typer(new.app, name="new")
app.add_typer(cohort.app, name="cohort")
app.add_typer(leaderboard.app, name="leaderboard")
app.add_typer(testset.app, name="testset")


def _show_version(requested: bool) -> None:
    if requested:
        print(f"uadbench {version('uadbench')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """A benchmark of unsupervised anomaly detection on brain FDG PET."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with 0 (success), 2 (bad input), 3 (could not finish), or 128 + n (signal n).

    Args:
        arguments: The arguments; those of the process by default.
    """
    if arguments is None:
        require_utf8()
    with mended(), stoppable():
        _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: list[str]) -> None:
    debug = "--debug" in arguments
    warnings.showwarning = _show_warning
    # it says in two lines that it has no folder in HOME, and goes on without
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        _call([argument for argument in arguments if argument != "--debug"])
    except UadbenchError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except Exception as error:  # unexpected errors are shown in one line, too
        if debug:
            raise
        from uadbench.runs.failures import reason

        _fail(f"{reason(error)} (add --debug for the traceback)", Unfinished.exit_code)


def _call(arguments: list[str]) -> None:
    """Run a command; flushing standard output raises an error if the end of the output could not be written."""
    for argument in arguments:
        require_text(argument)
    try:
        app(arguments, standalone_mode=True)
    except SystemExit:
        sys.stdout.flush()
        raise


def _fail(text: str, code: int) -> None:
    if text:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Print warnings of uadbench in one line, and hide those of libraries."""
    if issubclass(category, UserWarning) and str(message).startswith("skipped:"):
        print(f"warning: {message}", file=sys.stderr)
