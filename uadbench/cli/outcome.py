"""What `uadbench run` prints at its end: a verdict of a few lines, one table, and all tables on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from uadbench.cli.display import print_machine_notes, whereabouts
from uadbench.cli.fitting import terminal
from uadbench.cli.tables import (
    compact_table,
    detection_table,
    models_table,
    people_tables,
    profile_table,
    restoration_table,
    robustness_tables,
    severity_table,
)
from uadbench.cli.verdicts import ranks_line, summaries, verdict_line
from uadbench.report.words import number
from uadbench.results.failed import failures, share_failed
from uadbench.results.near_ideal import near_ideal
from uadbench.results.scores import read_scores
from uadbench.results.verdicts import BASELINE, Verdict, ranked_models, ranking_of, verdicts
from uadbench.runtime.commands import command
from uadbench.stats.paired import ONE_TRAINING

if TYPE_CHECKING:
    from uadbench.launch.sweep import Sweep
    from uadbench.results.model_scores import ModelScores
    from uadbench.results.schema import Result

LISTED = 4
"""The most models that a verdict names one by one."""


def print_json(sweep: Sweep, seconds: dict[str, float] | None) -> None:
    """Print everything as JSON.

    Args:
        sweep: The finished runs.
        seconds: Seconds of each phase; None without `--profile`.
    """
    models = _models(sweep)
    content: dict[str, Any] = {
        "results": [{"folder": str(o.folder), "result": o.result.model_dump(mode="json")} for o in sweep.outcomes],
        "failures": sweep.failures,
        "verdicts": [verdict.to_json() for verdict in verdicts(models)],
        "ranking": [asdict(row) for row in ranked_models(models)],
    }
    print(json.dumps(content | ({} if seconds is None else {"profile": seconds}), indent=2))


def print_outcome(sweep: Sweep, uri: str | None, details: bool, seconds: dict[str, float] | None) -> None:
    """Print the verdict and the table; with `details`, all tables and files.

    Args:
        sweep: The finished runs.
        uri: Address of MLflow; None if nothing is logged.
        details: Whether to print everything.
        seconds: Seconds of each phase; None without `--profile`.
    """
    console = terminal()
    if sweep.outcomes:
        models = _models(sweep)
        own = [outcome.result for outcome in sweep.outcomes]
        failed = {id(result) for result, reason in zip(own, failures(own), strict=True) if reason}
        results = sorted(own, key=lambda r: (id(r) in failed, -(r.headline.ap_standard or 0.0)))
        for line in verdict_lines(sweep, results, models):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(compact_table(results))
        print_machine_notes(console, results)
        if details:
            _print_details(sweep, results, models, uri)
        else:
            print("More: the same command with --details")
    for folder in sweep.untracked:
        print(f"not logged to MLflow yet: {command('uadbench', 'track', folder, tracking_uri=uri)}")
    if seconds is not None:
        console.print(profile_table(seconds))


def verdict_lines(sweep: Sweep, results: Sequence[Result], models: Sequence[ModelScores]) -> Iterator[str]:
    """A few lines: the score, the comparison with the z-score, warnings, the files, the next command.

    Args:
        sweep: The finished runs.
        results: Their results, the best first.
        models: The scores of the models.
    """
    best = results[0]
    low, high = best.headline.ap_interval or (None, None)
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    reference = near_ideal(best, results)
    bounds = f"chance {number(best.headline.prevalence)}" + (f", {reference}" if reference else "")
    first = "" if len(results) == 1 else "best run: "
    yield f"{first}{best.model.name}, ranking AP {number(best.headline.ap_standard)}{interval} ({bounds})"
    yield _against_baseline(verdicts(models), models)
    if failed := [f"{each.name} {share_failed(each.failed, each.runs)}" for each in models if each.failed]:
        yield f"Failed trainings, which do not count: {'; '.join(failed)}"
    unranked = list(dict.fromkeys(result.unranked for result in results if result.unranked))
    if unranked:
        yield f"Unranked: {'; '.join(unranked)}"
    folders = [outcome.folder for outcome in sweep.outcomes]
    single = len(folders) == 1
    yield f"written to {folders[0]}" if single else f"{len(folders)} run folders in {sweep.output}"
    if single or len({result.model.name for result in results}) == 1:
        yield f"next: {command('uadbench', 'report', folders[0])}"
    else:
        yield f"next: {command('uadbench', 'compare', folders[0].parents[1])}/*/fold*"


def _against_baseline(compared: Sequence[Verdict], models: Sequence[ModelScores]) -> str:
    """One line about the comparison with the z-score."""
    if not compared:
        if any(model.name == BASELINE for model in models):
            return f"{BASELINE} is the baseline that other models have to beat"
        return f"add --model {BASELINE} for a paired comparison with the baseline"
    if len(compared) == 1:
        return verdict_line(compared[0])
    groups: dict[str, list[str]] = {}
    for verdict in compared:
        groups.setdefault(verdict.word, []).append(verdict.model)
    parts = (f"{_names(names)} {_plural(word, len(names))} {BASELINE}" for word, names in groups.items())
    conditional = any(verdict.comparison.conditional for verdict in compared)
    return "; ".join(parts) + (f" ({ONE_TRAINING})" if conditional else "")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= LISTED else f"{', '.join(names[:LISTED])} and {len(names) - LISTED} others"


def _plural(word: str, count: int) -> str:
    """A verdict about several models."""
    if count == 1:
        return word
    return {"beats": "beat", "is worse than": "are worse than"}.get(word, word.replace("does not", "do not"))


def _models(sweep: Sweep) -> list[ModelScores]:
    return ranking_of([o.result for o in sweep.outcomes], [read_scores(o.folder) for o in sweep.outcomes])


def _print_details(sweep: Sweep, results: Sequence[Result], models: Sequence[ModelScores], uri: str | None) -> None:
    console = terminal()
    console.print(models_table(results))
    for line in [*summaries(models), *map(verdict_line, verdicts(models)), *ranks_line(models)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(restoration_table(results))
    console.print(detection_table(results))
    if len(results) == 1:
        console.print(severity_table(results[0]))
    console.print(robustness_tables(results))
    console.print(people_tables(results))
    _print_whereabouts(sweep, uri)
    for result in results:
        print(f"score hash  {result.score_hash[:16]}  {result.model.name} fold {result.fold} seed {result.seed}")


def _print_whereabouts(sweep: Sweep, uri: str | None) -> None:
    first, *others = sweep.outcomes
    if not others:
        for line in whereabouts(first.folder, None if first.folder in sweep.untracked else uri):
            print(line)
        return
    for outcome in sweep.outcomes:
        print(f"{outcome.result.model.name:12} {outcome.folder}")
    for line in whereabouts(first.folder, None if sweep.untracked else uri)[4:]:
        print(line)
