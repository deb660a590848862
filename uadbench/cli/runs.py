"""Run folders on the command line."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from uadbench.errors import InputError
from uadbench.runtime.commands import command

BELOW = ("*/*/*/fold*", "*/*/fold*", "*/fold*", "fold*")
"""Where run folders lie below a folder for results, of a cohort, of a protocol, of a model."""
MOST = 1000


def require_run(run: Path, *words: str) -> None:
    """Refuse a folder that holds run folders instead of a result.

    Args:
        run: What the user gave.
        *words: The command, to be given with a run folder.

    Raises:
        InputError: With the command for the first run folder that lies below.
    """
    from uadbench.results.schema import RESULT

    if not run.is_dir() or os.path.lexists(run / RESULT):  # whether it can be read is the reader's question
        return
    below = sorted(file.parent for depth in BELOW for file in islice(run.glob(f"{depth}/{RESULT}"), MOST))
    if below:
        raise InputError(f"{run}: a folder of runs, not a run; give one of them: {command(*words, below[0])}")
    raise InputError(f"{run}: no {RESULT} here, nor below; give a run folder, which 'uadbench run' writes")
