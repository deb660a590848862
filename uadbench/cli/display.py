"""What is printed about a run: the address of its log, differences from the board's machine, and the written files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uadbench.runtime.commands import command
from uadbench.runtime.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from uadbench.results.schema import Result


def announce(progress: Progress, uri: str | None, option: str | None) -> None:
    """Print the address of the MLflow log.

    Args:
        progress: Receives the notice.
        uri: The address; None if nothing is logged.
        option: The value of `--tracking-uri`; if it is None, the environment may have set the address.
    """
    if uri is not None:
        from uadbench.tracking import chosen_by

        progress.notice(f"results are logged to {uri}{chosen_by(option)}")


def print_machine_notes(console: Console, results: Sequence[Result]) -> None:
    """Print which results have other threads or another processor than those on the board that comes with uadbench.

    Args:
        console: Prints the lines.
        results: The results.
    """
    from rich.text import Text

    from uadbench.leaderboard.machines import machine_notes
    from uadbench.leaderboard.ranking import shipped_board

    for note in machine_notes(results, shipped_board()):
        console.print(Text(note, style="dim"))


def whereabouts(folder: Path, uri: str | None) -> list[str]:
    """List the files of a run and how to view them.

    Args:
        folder: The run folder.
        uri: The address of the MLflow log; None if nothing was logged.

    Returns:
        The lines to print.
    """
    lines = [
        f"result      {folder / 'result.json'}",
        f"scores      {folder / 'scores.parquet'}   (one row per case)",
        f"checkpoint  {folder / 'model.safetensors'}",
        f"figures     {folder / 'figures'}",
    ]
    if uri is not None:
        look = command("mlflow", "ui", backend_store_uri=uri) if uri.startswith("sqlite") else "open it in a browser"
        lines += [f"MLflow      {uri}", f"view with   {look}"]
    return lines
