"""Preparation of a request before any scan is read, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uadbench.cohorts.splits.listed import read_split
from uadbench.launch.options import checked_options, require_fit
from uadbench.launch.plan import Request
from uadbench.models.weights_file import find_weights
from uadbench.protocols.schema import Protocol
from uadbench.runs.keys import Run
from uadbench.runtime.files import require_folder
from uadbench.runtime.progress import Progress
from uadbench.tracking import Tracker, title_of


@dataclass(frozen=True)
class Prepared:
    """A checked request.

    Attributes:
        request: The request, with options of the types that the models declare.
        runs: Its runs, in the order of execution.
        tracker: Logs to MLflow; None for no logging.
    """

    request: Request
    runs: list[Run]
    tracker: Tracker | None


def prepare(
    request: Request, options: Mapping[str, Mapping[str, Any]], output: Path, uri: str | None, progress: Progress
) -> Prepared:
    """Check the options and weights of a request, and expand it into runs.

    Args:
        request: The request, without options.
        options: Model -> option -> value; strings are parsed.
        output: Folder for results.
        uri: Address of MLflow; None for no logging.
        progress: Receives notices and warnings.

    Returns:
        The request and its runs.

    Raises:
        InputError: If a folder, model, option, cohort, fold or file cannot be used, or the weights belong to another
            model.
    """
    weights = None if request.checkpoint is None else find_weights(request.checkpoint)
    require_folder(output)
    tracker = None if uri is None else Tracker(uri, title_of(list(request.models), request.protocol.name), output)
    checked = checked_options(request.models, options, {} if weights is None else weights.options)
    request = request.model_copy(update={"options": checked})
    runs = request.runs(progress)
    if weights is not None:
        require_fit(runs[0], weights)
    return Prepared(request, runs, tracker)


def fold_count(protocol: Protocol, split: Path | None) -> int:
    """Number of folds of a given split, or of the protocol's.

    Raises:
        InputError: If the split cannot be read.
    """
    return protocol.split.folds if split is None else len(read_split(split).folds)
