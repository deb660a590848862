"""Threads and processor of a run, compared with those of the board's runs of the same model.

The same command and seed give slightly different scores with other threads or another processor, because libraries add
float32 numbers in another order (docs/concepts/reproducibility.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uadbench.errors import InputError
from uadbench.leaderboard.ranking import Ranking, rankings_of_run
from uadbench.results.schema import Result
from uadbench.runtime.plurals import counted


def machine_notes(results: Sequence[Result], root: Path | None) -> list[str]:
    """Say which results were computed with other threads or on another processor than those on the board.

    Args:
        results: The results.
        root: The leaderboard folder; None for no leaderboard.

    Returns:
        One line for each kind of difference, with the models that have it; empty if there is none, or if the
        leaderboard cannot be read.
    """
    models: dict[str, list[str]] = {}
    try:
        rows = [[] if root is None else rankings_of_run(root, result) for result in results]
    except InputError:  # a note about a finished run is not worth an error
        return []
    for result, own in zip(results, rows, strict=True):
        made = result.provenance
        differences = [machine_difference(made.threads, made.processor, row) for row in own]
        if differences and all(differences):
            models.setdefault(differences[0], []).append(result.model.name)
    return [
        f"{', '.join(dict.fromkeys(names))}: {difference}; scores may differ slightly"
        for difference, names in models.items()
    ]


def machine_difference(threads: int, processor: str | None, row: Ranking) -> str:
    """Compare threads and processor with those of a row of a board.

    Args:
        threads: Number of threads of torch.
        processor: Model of the processor; None if unknown.
        row: The row.

    Returns:
        What differs; "" if nothing is known to differ.
    """
    parts = []
    if row.threads and threads not in row.threads:
        parts.append(f"{counted(threads, 'thread')} here, {' or '.join(map(str, row.threads))} on the board")
    if processor is not None and row.processors and processor not in row.processors:
        parts.append(f"{processor} here, {' or '.join(row.processors)} on the board")
    return "; ".join(parts)
