"""`uadbench check`: comparison of a result with its baseline, with an exit code for continuous integration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import InputError, UadbenchError

if TYPE_CHECKING:
    from uadbench.results.schema import Result

SAME, WORSE, NOT_RUN = 0, 1, 3


def check(
    result: Annotated[Path, typer.Argument(help="Run folder or result file to check.")],
    against: Annotated[
        Path,
        typer.Option(help="Baseline: a run folder, a result file, or a folder of results, for example leaderboard."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print every metric as JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, for example for a pull request.")
    ] = False,
) -> None:
    """Compare a result with its baseline and report metrics that are worse.

    Each metric has its own tolerance, from the spread between the baseline's
    seeds and from the metric's confidence interval.

    Exit code 0: same or better. 1: a metric is worse. 3: not comparable.
    """
    import json

    from uadbench.cli.changes import markdown_table, print_changes
    from uadbench.leaderboard.entries import read_untrusted
    from uadbench.leaderboard.tolerance import changes
    from uadbench.results.schema import RESULT

    try:
        baselines = {file: read_untrusted(file) for file in _files(against, RESULT)}
        file = result / RESULT if result.is_dir() else result
        own = read_untrusted(file)
        _require_scores(file, own)
        same_model = {f: b for f, b in baselines.items() if (b.model.name, b.fold) == (own.model.name, own.fold)}
        same_options = {f: b for f, b in same_model.items() if b.model.options == own.model.options}
        chosen = same_options or same_model  # if a default option was changed, compare with the old default
        for baseline in chosen.items():
            _require_scores(*baseline)
        trainings = list(chosen.values())
        if not trainings:
            raise InputError(f"{against}: no result of {own.model.name}, fold {own.fold}")
        compared = changes(own, trainings)
    except (UadbenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(NOT_RUN) from None
    worse = [change for change in compared if change.verdict in ("worse", "gone")]
    if as_json:
        print(json.dumps([vars(change) for change in compared], indent=2))
    elif markdown:
        print(markdown_table(own, len(trainings), compared))
    else:
        print_changes(own, len(trainings), compared)
    raise typer.Exit(WORSE if worse else SAME)


def _require_scores(file: Path, result: Result) -> None:
    """Raises InputError if the scores beside a result do not match its score hash."""
    from uadbench.leaderboard.entries import LARGEST_TABLE
    from uadbench.results.scores import read_scores_of, scores_beside

    if os.path.lexists(scores := scores_beside(file)):
        read_scores_of(result, scores, LARGEST_TABLE)


def _files(reference: Path, name: str) -> list[Path]:
    """The given result file, the result file of a run folder, or all result files of another folder."""
    from uadbench.leaderboard.entries import RESULTS
    from uadbench.runtime.parts import is_part

    if reference.is_file():
        return [reference]
    if (reference / name).is_file():
        return [reference / name]
    folder = reference / RESULTS if (reference / RESULTS).is_dir() else reference
    every = [file for file in sorted(folder.rglob("*.json")) if not is_part(file.relative_to(folder))]
    results = [file for file in every if file.name == name] or every
    if not results:
        raise InputError(f"{reference}: no results found; give a run folder, a result file, or a folder of results")
    return results
