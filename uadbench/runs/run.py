"""From a run to its result: fit or load the model, evaluate it, write; killed at any moment, it continues."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path

import torch

from uadbench.evaluation.evaluator import Evaluator
from uadbench.protocols.schema import store_protocol
from uadbench.results.examples import EXAMPLES, write_examples
from uadbench.results.schema import PEOPLE
from uadbench.results.scores import write_scored
from uadbench.runs import failures
from uadbench.runs.assemble import assembled_result, cost_of
from uadbench.runs.evaluate import PARTIAL, case_scores, example_pictures, save_draws
from uadbench.runs.fit import ANEW, fitted_model, take_weights, validation_batches
from uadbench.runs.fold_data import Material
from uadbench.runs.keys import Cell, Outcome
from uadbench.runtime.claims import claim
from uadbench.runtime.files import atomic_path, write_text
from uadbench.runtime.parts import sweep_tree
from uadbench.runtime.profiling import phase
from uadbench.runtime.progress import Progress


def run_cell(cell: Cell, output: Path, device: torch.device, progress: Progress, fresh: bool = False) -> Outcome:
    """Bring a cell to its result.

    What is finished is reused: a result with the same eval_key, else weights with the same fit_key.
    What was begun is continued. `fresh` forgets all of this cell before.

    Raises:
        Claimed: If another process works on the cell.
    """
    folder = cell.folder(output)
    if not fresh and (known := cell.outcome(output)) is not None:
        return known
    with claim(folder):
        if fresh:
            _forget(folder)
        elif (known := cell.outcome(output)) is not None:  # by now: another process had it
            return known
        return _brought_to_its_result(cell, folder, output, device, progress)


def forget(cell: Cell, output: Path) -> None:
    """Remove all that a cell has: it is to be trained anew, and takes no weights from elsewhere either.

    Raises:
        Claimed: If another process works on the cell.
    """
    folder = cell.folder(output)
    with claim(folder):
        _forget(folder)


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / ANEW, "")


def _brought_to_its_result(cell: Cell, folder: Path, output: Path, device: torch.device, progress: Progress) -> Outcome:
    failures.forget(folder)
    sweep_tree(folder)
    if cell.unranked is not None:
        progress.warning(f"unranked: {cell.unranked}")
    with phase("training, the rest"):
        take_weights(cell, output)
        model, curve = cell.prepared(device) or fitted_model(cell, folder, device, progress)
    with phase("measures"):
        evaluator = Evaluator.calibrated(model, cell.material.cases, validation_batches(cell, device), device)
        started, computed = time.monotonic(), time.process_time()
        table = case_scores(cell, evaluator, folder, progress)
        cpu_seconds = curve.cpu_seconds + time.process_time() - computed
    with phase("statistics"):
        save_draws(evaluator, folder)
        store_protocol(cell.material.protocol, folder)
        _write_people(cell.material, folder)
        write_examples(example_pictures(cell, evaluator, table), folder / EXAMPLES)
        cost = cost_of(cell, evaluator, curve, time.monotonic() - started, cpu_seconds)
        result = cell.amended(assembled_result(cell, evaluator, curve, table, cost))
        write_scored(result, table, folder)
    tidy(folder)
    return Outcome(result, folder, reused=False)


def tidy(folder: Path) -> None:
    """Remove what a finished run no longer needs, and the leftovers of killed processes."""
    sweep_tree(folder)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    with suppress(OSError):  # it only keeps a run without a result from taking weights from elsewhere
        (folder / ANEW).unlink(missing_ok=True)


def _write_people(material: Material, folder: Path) -> None:
    """Who is in which part; of a private cohort that only its owner may read it, for it tells whom results mean."""
    with atomic_path(folder / PEOPLE) as partial:
        partial.touch(mode=0o666 if material.public else 0o600)
        partial.write_text(json.dumps(material.people(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
