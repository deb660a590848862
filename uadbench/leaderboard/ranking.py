"""Rank and scores of a model, read from a generated `leaderboard.json`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from uadbench.errors import InputError
from uadbench.runtime.commands import command
from uadbench.runtime.files import LARGEST_SEALED
from uadbench.runtime.reading import read_json

BOARDS = "leaderboard.json"


@dataclass(frozen=True)
class Ranking:
    """A model's row on one board.

    Attributes:
        board: Title of the board.
        row: Name of the row: the model, with options if it has several rows on the board.
        rows: Number of rows on the board.
        rank: Lowest and highest rank (95 %).
        group: Group number; models of one group do not differ significantly from the best one in it.
        ap: Ranking AP: mean, lower and upper bound.
        dementias: The same over dementias alone.
        unseen: The same over unseen anomalies alone.
        native: The same for the native anomaly map.
        seeds: Number of seeds.
        folds: Number of folds.
        reproduced: Whether a rerun has reproduced the result.
    """

    board: str
    row: str
    rows: int
    rank: list[int]
    group: int
    ap: list[float | None]
    dementias: list[float | None]
    unseen: list[float | None]
    native: list[float | None]
    seeds: int
    folds: int
    reproduced: bool


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
    file = root / BOARDS
    try:
        boards = read_json(file, LARGEST_SEALED)["boards"]
        own = ("board", "row", "rows")
        return [
            Ranking(
                board["title"],
                row["name"],
                len(board["rows"]),
                **{field.name: row[field.name] for field in fields(Ranking) if field.name not in own},
            )
            for board in boards
            for row in board["rows"]
            if row["model"] == model
        ]
    except FileNotFoundError:
        build = command("uadbench", "leaderboard", "build", root=root)
        raise InputError(f"{file}: no such file; create it with: {build}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({type(error).__name__}: {error})") from None
