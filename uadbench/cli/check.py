"""`uadbench check`: has a result got worse than its baseline?"""

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
    result: Annotated[Path, typer.Argument(help="A run folder or a result file.")],
    against: Annotated[Path, typer.Option(help="The baseline: a run folder, a result file, or a folder of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print every metric as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a pull request.")] = False,
) -> None:
    """Compare a result with its baseline, metric by metric, each with a tolerance of its own.

    The tolerance comes from the spread between the baseline's seeds and from the metric's interval.
    Exit code 0: same or better; 1: something is worse; 3: the two could not be compared.
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
        there = {f: b for f, b in baselines.items() if (b.model.name, b.fold) == (own.model.name, own.fold)}
        alike = {f: b for f, b in there.items() if b.model.options == own.model.options}
        there = alike or there  # a changed default is to be judged, too
        for baseline in there.items():
            _require_scores(*baseline)
        same = list(there.values())
        if not same:
            raise InputError(f"{against}: has no result of {own.model.name}, fold {own.fold}")
        found = changes(own, same)
    except (UadbenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(NOT_RUN) from None
    worse = [change for change in found if change.verdict in ("worse", "gone")]
    if as_json:
        print(json.dumps([vars(change) for change in found], indent=2))
    elif markdown:
        print(markdown_table(own, len(same), found))
    else:
        print_changes(own, len(same), found)
    raise typer.Exit(WORSE if worse else SAME)


def _require_scores(file: Path, result: Result) -> None:
    """Raise InputError where other scores lie beside a result than those that it vouches for."""
    from uadbench.leaderboard.entries import LARGEST_TABLE
    from uadbench.results.scores import read_scores_of, scores_beside

    if os.path.lexists(scores := scores_beside(file)):
        read_scores_of(result, scores, LARGEST_TABLE)


def _files(reference: Path, name: str) -> list[Path]:
    """A result file, that of a run folder, or all in a folder, such as that of a leaderboard."""
    from uadbench.leaderboard.entries import RESULTS
    from uadbench.runtime.parts import is_part

    if reference.is_file():
        return [reference]
    if (reference / name).is_file():
        return [reference / name]
    inside = reference / RESULTS if (reference / RESULTS).is_dir() else reference
    whole = [file for file in sorted(inside.rglob("*.json")) if not is_part(file.relative_to(inside))]
    found = [file for file in whole if file.name == name] or whole
    if not found:
        raise InputError(f"{reference}: no result here; give a run folder, a result file, or a folder of them")
    return found
