"""Saving and loading a trained model: safetensors for the weights, `model.json` for what rebuilds the object."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.precision import lay_out
from uadbench.runtime.files import atomic_path, file_hash, read_sealed, write_sealed
from uadbench.runtime.reading import open_regular, parse_json, read_bytes
from uadbench.types import Grid

WEIGHTS = "model.safetensors"
CARD = "model.json"
CURVE = "curve.json"
LARGEST_HEADER = 4 << 20
"""Largest header of a safetensors file, in bytes: enough for 30 000 tensors."""


def build_model(name: str, grid: Grid, options: Mapping[str, Any], seed: int) -> Model:
    """Create a model with initial weights drawn from `seed`.

    Raises:
        InputError: If the name or an option is unknown, or the class is not a Model.
    """
    plugin = registry.models.get(name)
    if not issubclass(plugin, Model):
        raise InputError(f"{name}: class {plugin.__name__} is not a uadbench.models.base.Model")
    checked = registry.check_options(name, plugin, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Model = plugin(grid, **checked)
    lay_out(model)
    return model


def save_model(model: Model, folder: Path, *, name: str, options: Mapping[str, Any], fit_key: str) -> None:
    """Write the weights, then `model.json` with the hashes of the weights and of the curve beside them."""
    write_tensors(folder / WEIGHTS, model.state_dict())
    sums = {part: file_hash(folder / part) for part in (WEIGHTS, CURVE) if (folder / part).is_file()}
    card = {"model": name, "options": dict(options), "grid": asdict(model.grid), "fit_key": fit_key, "sha256": sums}
    write_sealed(folder / CARD, card)


def write_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically.

    Raises:
        files.Unwritable: If the file cannot be written, for example because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(file) as partial:
        try:
            save_file(plain, partial, None if metadata is None else dict(metadata))
        except SafetensorError as error:  # which is what it makes of the system's errors
            found = re.search(r"os error (\d+)", str(error))
            raise (OSError(int(found[1]), str(error)) if found else OSError(str(error))) from None


def has_model(folder: Path, fit_key: str) -> bool:
    """Whether `folder` holds the undamaged weights and curve with this fit key."""
    try:
        card = read_sealed(folder / CARD)
        return bool(card.get("fit_key") == fit_key) and not _damaged(folder, card)
    except (OSError, ValueError):
        return False


def _damaged(folder: Path, card: Mapping[str, Any]) -> str:
    """The name of the first file that differs from its hash in `model.json`, or "". Older versions wrote no hashes.

    Raises:
        OSError: If a file is missing.
        ValueError: If the hashes have an unknown form.
    """
    sums = card.get("sha256", {})
    if not isinstance(sums, dict):
        raise ValueError("contains no hashes by name")
    expected = {WEIGHTS: None, **sums}
    return next((name for name, digest in expected.items() if digest not in (None, file_hash(folder / name))), "")


def copy_model(source: Path, target: Path) -> None:
    """Copy the weights and `model.json` of another run folder."""
    for name in (WEIGHTS, CARD):
        with atomic_path(target / name) as partial:
            shutil.copyfile(source / name, partial)


def load_weights(model: Model, file: Path) -> None:
    """Load weights from a file into a model of the same architecture.

    Raises:
        InputError: If the file is missing or damaged, or the architecture differs.
    """
    try:
        tensors = read_tensors(file, most_bytes(model))
    except FileNotFoundError:
        raise InputError(f"{file}: no such checkpoint") from None
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: these weights do not fit the model: {reason}") from None


def most_bytes(model: Model) -> int:
    """Largest plausible size of a weights file of this model: twice its bytes (float64 for float32) plus the header."""
    numbers: int = sum(value.nbytes for value in model.state_dict().values())
    return 2 * numbers + LARGEST_HEADER


def read_tensors(file: Path, most: int, *, links: bool = False, digest: str = "") -> dict[str, Tensor]:
    """Read a safetensors file.

    The header is checked first, since safetensors creates an object for every tensor that it names, and silently takes
    the last of two tensors with the same name.

    Args:
        file: The file to read.
        most: Largest allowed size, in bytes.
        links: Whether the file may be a symbolic link.
        digest: The SHA-256 that the file must have; "" for any.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is too large, damaged, or not as expected.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_bytes(file, most, links=links)
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"{file}: changed during the run; run again")
    try:
        _require_header(content, len(content), LARGEST_HEADER)
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]  # KeyError: a type of numbers that torch has not
        raise InputError(f"{file}: incomplete or invalid safetensors file ({reason}); run again with --fresh") from None
    return tensors


def require_header_of(file: Path, most: int = LARGEST_HEADER) -> None:
    """Check the header of a safetensors file that is then read in parts.

    Raises:
        OSError: If it is not a regular file.
        ValueError: If the header is invalid.
        TypeError: If a field of the header has the wrong type.
    """
    with open_regular(file) as handle:
        size = os.fstat(handle.fileno()).st_size
        _require_header(handle.read(min(8 + most, size)), size, most)


def _require_header(content: bytes, size: int, most: int) -> None:
    """Raise ValueError if the header is too long, or its tensors do not fill the file one after the other."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(most, size - 8):
        raise ValueError(f"its header claims {length} bytes")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    end = 0
    for name, tensor in sorted(
        ((name, tensor) for name, tensor in header.items() if name != "__metadata__"),
        key=lambda item: item[1]["data_offsets"],
    ):
        start, stop = tensor["data_offsets"]
        if start != end or stop < start or any(not 0 <= axis < 1 << 48 for axis in tensor["shape"]):
            raise ValueError(f"tensor {name[:80]!r} claims bytes {start} to {stop}, of shape {tensor['shape']}"[:200])
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors claim {end} bytes of {size - 8 - length}")


def load_model(folder: Path) -> Model:
    """Rebuild the model that is stored in a run folder, in eval mode.

    If `model.json` names a model as `FILE.py:CLASS`, that file is executed: check run folders from others first.

    Raises:
        InputError: If the folder holds no model, or it is damaged.
    """
    try:
        card = read_sealed(folder / CARD)
        damaged = _damaged(folder, card)
    except (OSError, ValueError):
        raise InputError(f"{folder}: contains no model ({CARD} or {WEIGHTS} is missing or damaged)") from None
    if damaged:
        raise InputError(f"{folder / damaged}: is corrupted; rerun the command that created it")
    grid = Grid(tuple(card["grid"]["shape"]), card["grid"]["voxel_mm"], tuple(card["grid"]["origin"]))
    model = build_model(card["model"], grid, card["options"], seed=0)
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def parameter_count(model: Model) -> int:
    """Number of learnt values: trainable parameters, and also the buffers of models that learn in closed form."""
    learnt = list(model.parameters()) if model.learns_by_gradients else [*model.parameters(), *model.buffers()]
    return sum(value.numel() for value in learnt)
