"""Finished runs and shared results, read from disk."""

from __future__ import annotations

from pathlib import Path

from uadbench.api.completed import CompletedRun


def read(path: str | Path) -> CompletedRun:
    """Read a finished run.

    Args:
        path: A run folder, a `result.json`, or a shared result.

    Returns:
        The run; its scores are read when they are first used.

    Raises:
        InputError: If there is no result, or it is damaged.
    """
    from uadbench.results.schema import read_result

    return CompletedRun(read_result(Path(path)), Path(path))
