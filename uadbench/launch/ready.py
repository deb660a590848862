"""Check that all models can be built on this machine, before the first scan is read."""

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
    """Build every model that has no result yet.

    Args:
        runs: The runs.
        output: Folder for results.

    Raises:
        InputError: If an extra is missing, a model refuses an option, or it cannot work on the protocol's grid. Other
            errors of a constructor are left to the run, which records them and lets other runs continue.
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
        except (Exception, SystemExit):  # a model may be any code
            continue
