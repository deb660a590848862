"""`uadbench compare`: paired comparison of the results of several models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from uadbench.results.schema import Result


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or result files of at least two models.")],
    figure: Annotated[
        Path | None, typer.Option(help="PNG or SVG file for a plot of the differences. Default: no plot.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="PNG, SVG or PDF file for pictures of the outputs of every model for the same altered scan. Default: "
            "no pictures."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every comparison as JSON.")] = False,
) -> None:
    """Compare models by paired tests, with intervals and Holm-adjusted p-values.

    Compares the ranking AP over all anomalies and for each dementia. Several
    results of one model are treated as its seeds and folds; a failed training
    is reported and left out. All results must have the same test sets.
    """
    import json

    from uadbench.cli.runs import require_run
    from uadbench.leaderboard.tolerance import require_comparable
    from uadbench.results.compare import compare as compare_models
    from uadbench.results.compare import contenders
    from uadbench.results.schema import read_result
    from uadbench.runtime.files import atomic_path, require_place

    _require_suffix("--figure", figure, ".png", ".svg")
    _require_suffix("--pictures", pictures, ".png", ".svg", ".pdf")
    for target in filter(None, (figure, pictures)):
        require_place(target)
    for run in runs:
        require_run(run, "uadbench", "compare")
    results = [read_result(run) for run in runs]
    require_comparable(runs, results)
    tables = [_cases(run, result) for run, result in zip(runs, results, strict=True)]
    models = contenders(results, tables)
    if pictures is not None:
        from uadbench.report.lineup import draw_lineup, read_entries

        draw_lineup(read_entries(runs, results, tables), pictures)  # also of models whose training failed
    pairs = compare_models(models)
    if figure is not None:
        from uadbench.report.forest import forest

        with atomic_path(figure) as partial:
            forest(pairs).savefig(partial, dpi=150)
    if as_json:
        print(json.dumps([pair.to_json() for pair in pairs], indent=2))
        return
    from uadbench.cli.display import print_machine_notes
    from uadbench.cli.fitting import terminal
    from uadbench.cli.tables import comparison_table

    console = terminal()
    console.print(comparison_table(pairs, [note for model in models for note in model.notes]))
    print_machine_notes(console, results)
    for label, file in (("figure", figure), ("pictures", pictures)):
        if file is not None:
            print(f"{label} {file}")


def _require_suffix(option: str, file: Path | None, *suffixes: str) -> None:
    """Raises InputError for a file of another type, before anything is computed."""
    if file is not None and (file.suffix.lower() not in suffixes or file.is_dir()):
        raise InputError(f"{option} {file}: give a {', '.join(suffixes[:-1])} or {suffixes[-1]} file")


def _cases(run: Path, result: Result) -> pd.DataFrame:
    """The table of cases of a run folder, or the one beside a result file."""
    from uadbench.results.scores import read_scores_of, scores_beside

    return read_scores_of(result, scores_beside(run))
