"""The trained model of a run: its weights are loaded where they exist, else given or trained, and saved."""

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
from uadbench.runs.keys import STATE, Cell
from uadbench.runtime.files import LARGEST_SEALED, atomic_path, keyed_seed, write_json
from uadbench.runtime.progress import Progress
from uadbench.runtime.reading import read_json
from uadbench.training.loop import Curve, train

ANEW = "anew"
"""In the folder of a run that was forgotten, until it has its result."""


def fitted_model(cell: Cell, folder: Path, device: torch.device, progress: Progress) -> tuple[Model, Curve]:
    """Return the model with its weights: loaded if they exist, else given or trained, and then saved."""
    _require_unchanged(cell)
    seed = keyed_seed("weights", cell.seed)
    model = build_model(cell.model, cell.material.protocol.lattice, cell.all_options, seed).to(device)
    if has_model(folder, cell.fit_key):
        (folder / STATE).unlink(missing_ok=True)
        load_weights(model, folder / WEIGHTS)
        return model, _read_curve(folder)
    training = cell.material.batches("train", cell.seed, device)
    if cell.weights is not None:
        if prefix := load_given(model, cell.weights):
            progress.notice(f"{cell.weights.file}: the prefix '{prefix}' of its names was ignored")
        curve = Curve()
    elif model.learns_by_gradients:
        section = cell.material.protocol.training
        curve = train(
            model,
            training,
            validation_batches(cell, device),
            epochs=section.epochs,
            patience=section.patience,
            state_file=folder / STATE,
            progress=progress,
            precision=section.precision,
            save_every_s=keys.SAVE_EVERY_S,
        )
    else:
        started, computed = time.monotonic(), time.process_time()
        torch.manual_seed(keyed_seed("fit", cell.seed))
        with torch.no_grad():
            model.fit(training)
        curve = Curve(seconds=time.monotonic() - started, cpu_seconds=time.process_time() - computed)
    write_json(folder / CURVE, asdict(curve))
    save_model(model, folder, name=cell.model, options=cell.all_options, fit_key=cell.fit_key)
    (folder / STATE).unlink(missing_ok=True)
    return model, curve


def _require_unchanged(cell: Cell) -> None:
    """Raises InputError if the model's code, or what it begins with, is no longer what the cell's key says."""
    now = replace(cell, like=None)
    if (now.source, now.initial) != (cell.source, cell.initial):
        raise InputError(f"{cell.model}: its code, or a file that it reads, was changed while this ran; run again")


def _read_curve(folder: Path) -> Curve:
    return Curve(**read_json(folder / CURVE, LARGEST_SEALED))


def take_weights(cell: Cell, output: Path) -> None:
    """Copy equal weights that were trained for another test cohort or under another name of the protocol."""
    folder = cell.folder(output)
    if has_model(folder, cell.fit_key) or (folder / STATE).exists() or (folder / ANEW).exists():
        return
    for other in sorted(output.glob(f"*/*/{cell.name}/{folder.name}")):
        if has_model(other, cell.fit_key) and (other / CURVE).is_file():
            with atomic_path(folder / CURVE) as partial:
                shutil.copyfile(other / CURVE, partial)
            copy_model(other, folder)
            return


def validation_batches(cell: Cell, device: torch.device) -> Batches:
    """Batches of the healthy validation scans."""
    return cell.material.batches("validation", cell.seed, device)
