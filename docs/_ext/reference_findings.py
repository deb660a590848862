"""Tables of the findings, from the committed results: domain shift, false alarms by age and sex, phantom versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from markdown_text import code, table
from scipy import stats

from uadbench.leaderboard.boards import Board, Row, boards, over_runs
from uadbench.leaderboard.entries import read_entries
from uadbench.report.words import p_value
from uadbench.results.schema import Result

LEADERBOARD = Path(__file__).parents[2] / "leaderboard"
PROTOCOL, PHANTOM, CONTROL = "quick", "phantom", "phantom:recipe=2"
MOST = 12
"""Columns of a table: the best models."""


def findings_page() -> str:
    """The tables of the newest boards of the phantom, and of its nearly linear control if it has a board."""
    ranked = boards(list(read_entries(LEADERBOARD)), LEADERBOARD)
    newest = {each.cohort: each for each in ranked if each.protocol == PROTOCOL and not each.apart}
    parts = []
    if board := newest.get(PHANTOM):
        parts += [*_shifts(board), *_bias(board)]
    if board and (control := newest.get(CONTROL)):
        parts += _versions(board, control)
    return "\n\n".join(parts) + "\n"


def _shifts(board: Board) -> Iterator[str]:
    scores = board.result.robustness
    if scores is None:
        return
    names = [each.shift for each in scores.shifts]
    yield "### False alarms under domain shift"
    yield (
        f"Share of the {board.result.cohort.test} healthy test scans above the scan threshold, in %, averaged over "
        "trainings."
    )
    yield _by_model(board, "shift", {"none": _unshifted} | {name: partial(_alarms, name=name) for name in names})
    yield "### AP kept under domain shift"
    yield (
        f"AP of shifted altered scans relative to that of the same scans without a shift, in % ({scores.participants} "
        "participants), averaged over trainings."
    )
    yield _by_model(board, "shift", {name: partial(_kept, name=name) for name in names})


def _bias(board: Board) -> Iterator[str]:
    scores = board.result.bias
    if scores is None:
        return
    yield "### False alarms by age and sex"
    yield (
        f"Share of {scores.participants} healthy people ({scores.audited} of them in the bias audit) above the scan "
        "threshold, in %, averaged over trainings. p: trend over age (permutation) and women against men (Fisher's "
        "exact test) in the first training, not adjusted for the number of models."
    )
    groups = {
        f"{each.by} {each.value} ({each.participants})": partial(_group, by=each.by, value=each.value)
        for each in scores.groups
    }
    rows = board.rows[:MOST]
    tested = [["p, age", *(_p(row, "p_age") for row in rows)], ["p, sex", *(_p(row, "p_sex") for row in rows)]]
    yield _by_model(board, "group", groups, tested)


def _versions(board: Board, control: Board) -> Iterator[str]:
    """The models that have a score on both boards."""
    pairs = [(row, other) for row in board.rows for other in control.rows if row.name == other.name]
    both = [pair for pair in pairs if all(each.entries for each in pair)]
    scores = [[each.parts["both"].mean for each in pair] for pair in both]
    yield "## The order of models on two versions of the phantom"
    yield (
        f"Ranking AP on the phantom, and on `{CONTROL}`, which is nearly linear. Kendall's tau of the two orders is "
        f"{stats.kendalltau(*zip(*scores, strict=True)).statistic:.2f} ({len(both)} models)."
    )
    rows = [[code(row.name), *(f"{score:.3f}" for score in pair)] for (row, _), pair in zip(both, scores, strict=True)]
    yield table(["model", code(PHANTOM), code(CONTROL)], rows)


def _by_model(
    board: Board,
    heading: str,
    numbers: Mapping[str, Callable[[Result], float | None]],
    more: Sequence[Sequence[str]] = (),
) -> str:
    """A table with one column per model and one row per number, in %."""
    rows = board.rows[:MOST]
    cells = [[label, *(_percent(over_runs(row, number)) for row in rows)] for label, number in numbers.items()]
    return table([heading, *(code(row.name) for row in rows)], [*cells, *more])


def _unshifted(result: Result) -> float | None:
    return result.robustness.unshifted.value if result.robustness else None


def _alarms(result: Result, name: str) -> float | None:
    shifts = result.robustness.shifts if result.robustness else []
    return next((each.false_alarms.value for each in shifts if each.shift == name), None)


def _kept(result: Result, name: str) -> float | None:
    shifts = result.robustness.shifts if result.robustness else []
    return next((each.ap_kept.value for each in shifts if each.shift == name), None)


def _group(result: Result, by: str, value: str) -> float | None:
    groups = result.bias.groups if result.bias else []
    return next((each.false_alarms.value for each in groups if (each.by, each.value) == (by, value)), None)


def _p(row: Row, name: str) -> str:
    value = getattr(row.result.bias, name, None)
    return "n/a" if value is None else p_value(value).removeprefix("= ")


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.0f}"
