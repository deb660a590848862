"""The trained model of a run: its weights are loaded from the run folder, read from a given file, or trained."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from uadbench.cohorts.batches import Batches
from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.checkpoint import CURVE, WEIGHTS, build_model, copy_model, has_model, load_weights, save_model
from uadbench.models.weights_file import load_given
from uadbench.runs import keys
from uadbench.runs.keys import STATE, Run
from uadbench.runtime.files import LARGEST_SEALED, atomic_path, keyed_seed, write_json
from uadbench.runtime.progress import Progress
from uadbench.runtime.reading import read_json
from uadbench.training.loop import Curve, train

ANEW = "anew"
"""File in the folder of a run that is repeated with --fresh, until the run has its result."""


def fitted_model(run: Run, folder: Path, device: torch.device, progress: Progress) -> tuple[Model, Curve]:
    """Return the model of a run with its weights, and the training curve.

    Existing weights in the run folder are loaded; otherwise the weights are read from the user's file or trained, and
    then saved in the run folder.

    Raises:
        InputError: If the model's code or its initial state has changed since the run's key was computed.
    """
    _require_unchanged(run)
    seed = keyed_seed("weights", run.seed)
    model = build_model(run.model, run.fold_data.protocol.lattice, run.all_options, seed).to(device)
    if has_model(folder, run.fit_key):
        (folder / STATE).unlink(missing_ok=True)
        load_weights(model, folder / WEIGHTS)
        return model, _read_curve(folder)
    training = run.fold_data.batches("train", run.seed, device)
    if run.weights is not None:
        if prefix := load_given(model, run.weights):
            progress.notice(f"{run.weights.file}: ignored the prefix '{prefix}' of its tensor names")
        curve = Curve()
    elif model.learns_by_gradients:
        section = run.fold_data.protocol.training
        curve = train(
            model,
            training,
            validation_batches(run, device),
            epochs=section.epochs,
            patience=section.patience,
            state_file=folder / STATE,
            progress=progress,
            precision=section.precision,
            save_every_s=keys.SAVE_EVERY_S,
        )
    else:
        started, computed = time.monotonic(), time.process_time()
        torch.manual_seed(keyed_seed("fit", run.seed))
        with torch.no_grad():
            model.fit(training)
        curve = Curve(seconds=time.monotonic() - started, cpu_seconds=time.process_time() - computed)
    write_json(folder / CURVE, asdict(curve))
    save_model(model, folder, name=run.model, options=run.all_options, fit_key=run.fit_key)
    (folder / STATE).unlink(missing_ok=True)
    return model, curve


def _require_unchanged(run: Run) -> None:
    """Raise InputError if the model's code or initial state has changed since the run's key was computed."""
    now = replace(run, like=None)
    if (now.source, now.initial) != (run.source, run.initial):
        raise InputError(f"{run.model}: its code, or a file that it reads, changed during the run; run again")


def _read_curve(folder: Path) -> Curve:
    return Curve(**read_json(folder / CURVE, LARGEST_SEALED))


def take_weights(run: Run, output: Path) -> None:
    """Copy weights with the same fit key from another test cohort, or from another name of the protocol."""
    folder = run.folder(output)
    if has_model(folder, run.fit_key) or (folder / STATE).exists() or (folder / ANEW).exists():
        return
    for other in sorted(output.glob(f"*/*/{run.name}/{folder.name}")):
        if has_model(other, run.fit_key) and (other / CURVE).is_file():
            with atomic_path(folder / CURVE) as partial:
                shutil.copyfile(other / CURVE, partial)
            copy_model(other, folder)
            return


def validation_batches(run: Run, device: torch.device) -> Batches:
    """Batches of the healthy validation scans."""
    return run.fold_data.batches("validation", run.seed, device)
