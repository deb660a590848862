"""Where a model stands, read back from a generated leaderboard."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from uadbench.errors import InputError
from uadbench.runtime.commands import command
from uadbench.runtime.files import LARGEST_SEALED
from uadbench.runtime.reading import read_json

BOARDS = "leaderboard.json"


@dataclass(frozen=True)
class Standing:
    """One row of one board.

    Attributes:
        board, row: The board's title; the row's name, which tells options where a model stands there twice.
        rows: How many the board has.
        rank, group: Lowest and highest rank (95 %), and the group of models that cannot be told apart.
        ap, dementias, unseen, native: What ranks, its halves, and the same of the native map: mean, low, high.
        seeds, folds: How many.
        reproduced: Whether a rerun has confirmed it.
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


def standings(root: Path, model: str) -> list[Standing]:
    """Every row of a model on the boards of a leaderboard folder.

    Raises:
        InputError: Where there is no leaderboard, or none that can be read.
    """
    file = root / BOARDS
    try:
        boards = read_json(file, LARGEST_SEALED)["boards"]
        own = ("board", "row", "rows")
        return [
            Standing(
                board["title"],
                row["name"],
                len(board["rows"]),
                **{field.name: row[field.name] for field in fields(Standing) if field.name not in own},
            )
            for board in boards
            for row in board["rows"]
            if row["model"] == model
        ]
    except FileNotFoundError:
        build = command("uadbench", "leaderboard", "build", root=root)
        raise InputError(f"{file}: no such file; make it with: {build}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({type(error).__name__}: {error})") from None
