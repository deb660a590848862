"""What the command line says of a run: where its results are logged, and where everything lies."""

from __future__ import annotations

from pathlib import Path

from uadbench.runtime.commands import command
from uadbench.runtime.progress import Progress


def announce(progress: Progress, uri: str | None, given: str | None) -> None:
    """Say where results are logged, and whether the environment chose that; `given` is the option's value."""
    if uri is not None:
        from uadbench.tracking import chosen_by

        progress.notice(f"results are logged to {uri}{chosen_by(given)}")


def whereabouts(folder: Path, uri: str | None) -> list[str]:
    """Where everything of a run lies, and how to look at it."""
    lines = [
        f"result      {folder / 'result.json'}",
        f"scores      {folder / 'scores.parquet'}   (one row a case)",
        f"checkpoint  {folder / 'model.safetensors'}",
        f"figures     {folder / 'figures'}",
    ]
    if uri is not None:
        look = command("mlflow", "ui", backend_store_uri=uri) if uri.startswith("sqlite") else "in a browser"
        lines += [f"MLflow      {uri}", f"look        {look}"]
    return lines
