"""Whether models can be made here, asked before the first scan is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from uadbench.errors import InputError
from uadbench.models.checkpoint import build_model
from uadbench.models.extras import require_extra
from uadbench.runs.keys import Run
from uadbench.runtime.profiling import phase


@phase("start")
def require_models(runs: Sequence[Run], output: Path) -> None:
    """Make every model once that has no result yet.

    Args:
        runs: What is to be run.
        output: The folder for results.

    Raises:
        InputError: For a missing extra, an option that the model refuses, or a grid that it cannot work on. Any other
            error of a constructor is left to the run, which records it and goes on with the others.
    """
    first = {run.model: run for run in reversed(runs)}
    for run in first.values():
        for plugin in (run.plugin, *run.plugin.parts(run.all_options)):
            require_extra(plugin.extra, plugin.registered_name)
    for run in first.values():
        if run.outcome(output) is not None:
            continue
        try:
            with redirect_stdout(sys.stderr):
                build_model(run.model, run.fold_data.protocol.lattice, run.all_options, seed=0)
        except InputError:
            raise
        except (Exception, SystemExit):  # anybody's code
            continue
