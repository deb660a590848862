"""Executing a run: train or load the model, evaluate it, write the result; an interrupted run can be resumed."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

import torch

from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.stored_calibration import write_calibration
from uadbench.protocols.schema import store_protocol
from uadbench.results.examples import EXAMPLES, write_examples
from uadbench.results.schema import PEOPLE
from uadbench.results.scores import write_scored
from uadbench.runs import failures
from uadbench.runs.assemble import assembled_result, cost_of
from uadbench.runs.evaluate import PARTIAL, case_scores, example_pictures, save_draws
from uadbench.runs.fit import ANEW, fitted_model, take_weights, validation_batches
from uadbench.runs.fold_data import FoldData
from uadbench.runs.keys import Outcome, Run
from uadbench.runtime.claims import claim
from uadbench.runtime.files import atomic_path, json_text, write_text
from uadbench.runtime.parts import sweep_tree
from uadbench.runtime.profiling import phase
from uadbench.runtime.progress import Progress


def complete(run: Run, output: Path, device: torch.device, progress: Progress, fresh: bool = False) -> Outcome:
    """Execute a run, and return its result.

    Finished work is reused: a result with the same evaluation key, or else weights with the same fit key. Unfinished
    training or evaluation is resumed.

    Args:
        run: The run.
        output: The folder for all results.
        device: Device for training and evaluation.
        progress: Reports progress.
        fresh: Whether to discard all existing work of this run first.

    Raises:
        Claimed: If another process works on the run.
    """
    folder = run.folder(output)
    if not fresh and (outcome := run.outcome(output)) is not None:
        return outcome
    with claim(folder):
        if fresh:
            _forget(folder)
        elif (outcome := run.outcome(output)) is not None:  # another process has finished it meanwhile
            return outcome
        return _brought_to_its_result(run, folder, output, device, progress)


def forget(run: Run, output: Path) -> None:
    """Remove all files of a run; it will then be trained again, without copying weights from other runs.

    Raises:
        Claimed: If another process works on the run.
    """
    folder = run.folder(output)
    with claim(folder):
        _forget(folder)


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / ANEW, "")


def _brought_to_its_result(run: Run, folder: Path, output: Path, device: torch.device, progress: Progress) -> Outcome:
    from uadbench.metrics.compiled.decorator import compiling_announced  # importing numba delays the first message

    failures.forget(folder)
    sweep_tree(folder)
    if run.unranked is not None:
        progress.warning(f"unranked: {run.unranked}")
    with phase("training, the rest"):
        take_weights(run, output)
        model, curve = run.prepared(device) or fitted_model(run, folder, device, progress)
    with phase("measures"), compiling_announced(progress):
        evaluator = Evaluator.calibrated(model, run.fold_data.cases, validation_batches(run, device), device)
        started, computed = time.monotonic(), time.process_time()
        table = case_scores(run, evaluator, folder, progress)
        cpu_seconds = curve.cpu_seconds + time.process_time() - computed
    with phase("statistics"):
        save_draws(evaluator, folder)
        write_calibration(evaluator.calibration, folder)
        store_protocol(run.fold_data.protocol, folder)
        _write_people(run.fold_data, folder)
        write_examples(example_pictures(run, evaluator, table), folder / EXAMPLES)
        cost = cost_of(run, evaluator, curve, time.monotonic() - started, cpu_seconds)
        result = run.amended(assembled_result(run, evaluator, curve, table, cost))
        write_scored(result, table, folder)
    tidy(folder)
    return Outcome(result, folder, reused=False)


def tidy(folder: Path) -> None:
    """Remove files that a finished run no longer needs, and temporary files of interrupted processes."""
    sweep_tree(folder)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    with suppress(OSError):  # the file only prevents a run without a result from copying weights
        (folder / ANEW).unlink(missing_ok=True)


def _write_people(fold_data: FoldData, folder: Path) -> None:
    """Write the participants of each part; for a private cohort, only the owner may read the file with their ids."""
    with atomic_path(folder / PEOPLE) as partial:
        partial.touch(mode=0o666 if fold_data.public else 0o600)
        partial.write_text(json_text(fold_data.people()), encoding="utf-8")
