"""Check of run folder arguments, with a hint if a folder of several runs was given."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from uadbench.errors import InputError
from uadbench.runtime.commands import command

BELOW = ("*/*/*/fold*", "*/*/fold*", "*/fold*", "fold*")
"""Patterns of run folders below the folder of results, of a cohort, of a protocol, or of a model."""
MOST = 1000


def require_run(run: Path, *words: str) -> None:
    """Refuse a folder that is not a run folder.

    Args:
        run: The path that the user gave.
        *words: The command, for the hint.

    Raises:
        InputError: If the folder has no result; the message suggests the first run folder below it.
    """
    from uadbench.results.schema import RESULT

    if not run.is_dir() or os.path.lexists(run / RESULT):  # errors in the file are reported when it is read
        return
    below = sorted(file.parent for depth in BELOW for file in islice(run.glob(f"{depth}/{RESULT}"), MOST))
    if below:
        raise InputError(f"{run}: contains several runs; give one of them: {command(*words, below[0])}")
    raise InputError(f"{run}: no {RESULT} in this folder or below; give a run folder written by 'uadbench run'")
