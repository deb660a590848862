"""Rank and scores of models, read from a generated `leaderboard.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from uadbench.errors import InputError
from uadbench.runtime.commands import command
from uadbench.runtime.files import LARGEST_SEALED
from uadbench.runtime.reading import read_json
from uadbench.runtime.shipped import shipped

if TYPE_CHECKING:
    from uadbench.results.schema import Result

LEADERBOARD = Path("leaderboard")
BOARDS = "leaderboard.json"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Ranking:
    """A model's row on one board.

    Attributes:
        board: Title of the board.
        row: Name of the row: the model, with options if it has several rows on the board.
        rows: Number of rows on the board.
        rank: Lowest and highest rank, of simultaneous 95 % confidence sets; None if all trainings failed.
        ap: Ranking AP: mean, lower and upper bound.
        dementias: The same over dementias alone.
        unseen: The same over unseen anomalies alone.
        native: The same for the native anomaly map.
        seeds: Number of seeds whose trainings did not all fail.
        folds: Number of folds whose trainings did not all fail.
        reproduced: Whether a rerun has reproduced the result.
        failures: How many trainings failed, such as "1 of 3 failed"; "" if none did.
        threads: Numbers of threads of torch in its runs; empty if the file does not say.
        processors: Processors of its runs; empty if they are unknown.
    """

    board: str
    row: str
    rows: int
    rank: list[int] | None
    ap: list[float | None]
    dementias: list[float | None]
    unseen: list[float | None]
    native: list[float | None]
    seeds: int
    folds: int
    reproduced: bool
    failures: str = ""
    threads: list[int] = field(default_factory=list)
    processors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BoardScore:
    """The score of a model on one board.

    Attributes:
        ranking_ap: Ranking AP; None for n/a.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        board: Title of the board.
        protocol: Its protocol.
        cohort: Its cohort.
    """

    ranking_ap: float | None = None
    low: float | None = None
    high: float | None = None
    board: str = ""
    protocol: str = ""
    cohort: str = ""


def shipped_board() -> Path | None:
    """The leaderboard folder of the checkout or installation that contains uadbench; None if there is none."""
    file = shipped(f"{LEADERBOARD}/{BOARDS}")
    return None if file is None else file.parent


def overview(root: Path) -> dict[str, BoardScore]:
    """The scores of all models on one board, so that they can be compared.

    Of the newest boards of the protocols in uadbench, the one with the most models is used, and the first of these in
    the file. A model with several rows has the score of its best row.

    Args:
        root: The leaderboard folder.

    Returns:
        Name of the model -> its score; empty without such a board.

    Raises:
        InputError: If there is no leaderboard, or it cannot be read.
    """

    def read(boards: Any) -> dict[str, BoardScore]:
        ranked = [board for board in boards if board["ranked"] and not board["apart"]]
        board: Any = max(ranked, key=lambda board: len({row["model"] for row in board["rows"]}), default=None)
        scores: dict[str, BoardScore] = {}
        for row in board["rows"] if board else ():
            mean, low, high = row["ap"]
            score = BoardScore(mean, low, high, board["title"], board["protocol"], board["cohort"])
            best = scores.setdefault(row["model"], score)
            if (score.ranking_ap or 0.0) > (best.ranking_ap or 0.0):
                scores[row["model"]] = score
        return scores

    return _from_boards(root, read)


def rankings(root: Path, model: str) -> list[Ranking]:
    """Find a model on the boards of a leaderboard folder.

    Args:
        root: The leaderboard folder.
        model: Name of the model.

    Returns:
        The model's rows on all boards.

    Raises:
        InputError: If there is no leaderboard, or it cannot be read.
    """
    return _rankings(root, model, lambda board: True)


def rankings_of_run(root: Path, result: Result) -> list[Ranking]:
    """Find the rows with which a result can be compared.

    Args:
        root: The leaderboard folder.
        result: The result.

    Returns:
        The rows of its model on the board of its protocol, cohort and test sets.

    Raises:
        InputError: If there is no leaderboard, or it cannot be read.
    """
    wanted = (result.protocol.hash, result.cohort.title, result.testset.recipe)
    return _rankings(
        root,
        result.model.name,
        lambda board: (board["protocolHash"], board["cohort"], board["testset"]) == wanted,
    )


def _rankings(root: Path, model: str, on: Callable[[Any], bool]) -> list[Ranking]:
    """The rows of a model on the boards for which `on` is true."""

    def read(boards: Any) -> list[Ranking]:
        chosen = [board for board in boards if on(board)]
        return [_ranking(board, row) for board in chosen for row in board["rows"] if row["model"] == model]

    return _from_boards(root, read)


def _ranking(board: Any, row: Any) -> Ranking:
    """The ranking in a row of a board, as `leaderboard.json` has them."""
    own = {"board": board["title"], "row": row["name"], "rows": len(board["rows"])}
    optional = {"failures", "threads", "processors"} - set(row)  # a file from an earlier version
    rest = {each.name for each in fields(Ranking)} - set(own) - optional
    return Ranking(**own, **{name: row[name] for name in rest})


def _from_boards(root: Path, read: Callable[[Any], Answer]) -> Answer:
    """What a function reads from the boards of a leaderboard folder."""
    file = root / BOARDS
    try:
        return read(read_json(file, LARGEST_SEALED)["boards"])
    except FileNotFoundError:
        build = command("uadbench", "leaderboard", "build", root=root)
        raise InputError(f"{file}: no such file; create it with: {build}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({type(error).__name__}: {error})") from None
