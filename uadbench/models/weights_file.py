"""Weights that a user gives with --checkpoint: found, hashed, checked against the model, and loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.checkpoint import CARD, WEIGHTS, most_bytes, read_tensors
from uadbench.registry import names_code
from uadbench.runtime.files import file_hash, read_sealed

PICKLES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".bin", ".tar"})
"""Suffixes of files that torch.load reads as pickles, which can execute code."""

CONVERT = (
    "from safetensors.torch import save_file; "
    "save_file({name: value.contiguous() for name, value in model.state_dict().items()}, 'weights.safetensors')"
)


@dataclass(frozen=True)
class GivenWeights:
    """Weights that were trained elsewhere.

    Attributes:
        file: The safetensors file.
        digest: SHA-256 of the file.
        options: Options of the model, if the weights are from a run folder; options set by the user take precedence.
            Options that name a file with code are left out: the user must set these.
    """

    file: Path
    digest: str
    options: Mapping[str, Any]


def find_weights(reference: Path) -> GivenWeights:
    """Find the weights at a path: a safetensors file, or a run folder that holds one.

    Raises:
        InputError: If there is no such file, it is damaged, or it is a pickle, which could execute code.
    """
    file = reference / WEIGHTS if reference.is_dir() else reference
    if not file.is_file():
        raise InputError(
            f"--checkpoint {reference}: no such file; give a .safetensors file, or a run folder with {WEIGHTS}"
        )
    if file != reference and file.is_symlink():
        raise InputError(f"--checkpoint {file}: is a link; give its target")
    if file.suffix.lower() in PICKLES:
        raise InputError(
            f"--checkpoint {file}: pickle files can execute code and are not read; if you trust this one, load it into "
            f"your model and write safetensors: {CONVERT}"
        )
    digest, card = file_hash(file), _card(reference) if reference.is_dir() else {}
    sums, options = (section if isinstance(section := card.get(part), dict) else {} for part in ("sha256", "options"))
    if sums.get(WEIGHTS, digest) != digest:
        raise InputError(f"--checkpoint {file}: is corrupted; rerun the command that created it")
    return GivenWeights(file, digest, {name: value for name, value in options.items() if not names_code(value)})


def load_given(model: Model, weights: GivenWeights) -> str:
    """Load the weights into a model.

    Names in the file may have a prefix from a wrapper: `module.` from DataParallel, `model.` from many Lightning
    modules, `_orig_mod.` from torch.compile, and several from nested wrappers.

    Returns:
        The prefix that was removed from the names in the file, or "".

    Raises:
        InputError: If the file is damaged, contains non-finite values, has changed since it was found, or its tensors
            differ from the model's; the message names the first difference.
    """
    tensors = read_tensors(weights.file, most_bytes(model), links=True, digest=weights.digest)
    prefix = _wrapped_in(tensors, model.state_dict())
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    _require_fit(weights.file, tensors, model)
    model.load_state_dict(tensors)
    return prefix


def _wrapped_in(names: Collection[str], own: Collection[str]) -> str:
    """The prefix of the model's names in a file: "", or a string that ends with a dot.

    It is the prefix with which most of the model's names are present; of several, the shortest.
    """
    anchor = max(own, key=len, default="")
    before = {name.removesuffix(anchor) for name in names if name.endswith(f".{anchor}")}
    return max(sorted({"", *before}, key=len), key=lambda start: sum(start + name in names for name in own))


def _require_fit(file: Path, tensors: Mapping[str, Tensor], model: Model) -> None:
    own = model.state_dict()
    advice = f"are {model.registered_name or type(model).__name__} and its options (--set) those that were trained?"
    for name, value in own.items():
        if name not in tensors:
            raise InputError(f"{file}: missing tensor '{name}'; {advice}")
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)} in the file and {tuple(value.shape)} in the model"
            raise InputError(f"{file}: '{name}' is {shapes}; {advice}")
        if tensors[name].is_complex():
            raise InputError(f"{file}: '{name}' holds complex numbers")
        if not all(tensors[name].to(dtype).isfinite().all() for dtype in (torch.float64, value.dtype)):
            raise InputError(f"{file}: '{name}' holds numbers that are not finite")
    if extra := sorted(set(tensors) - set(own)):
        raise InputError(f"{file}: unexpected tensor '{extra[0]}'; {advice}")


def _card(folder: Path) -> dict[str, Any]:
    """The content of `model.json` in a run folder; empty if it is missing or damaged."""
    try:
        return read_sealed(folder / CARD)
    except (OSError, ValueError, RecursionError):
        return {}
