"""The initial state of a model without its random numbers, as a hash, and a check for undeclared learnt weights."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from uadbench.models.base import Model

UNSET = frozenset({"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"})
"""Operations that return uninitialised memory."""

NAMED = 3
"""Largest number of tensors that a message names."""


@dataclass(frozen=True)
class Initial:
    """The initial state of a model.

    Attributes:
        digest: Hash of every parameter, buffer, and other tensor or array that the model holds; None if one of them
            cannot be read, such as a tensor of another library's class.
        undeclared: Names of tensors that seem to be learnt and are not declared in `Model.pretrained`.
    """

    digest: str | None
    undeclared: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The names of the first undeclared tensors, and how many more there are; "" if there are none."""
        more = len(self.undeclared) - NAMED
        return ", ".join(self.undeclared[:NAMED]) + (f" and {more} more" if more > 0 else "")


def initial_state(build: Callable[[], Model]) -> Initial:
    """Build a model without random numbers, and hash what it holds.

    Every random number from torch, and all uninitialised memory, is replaced by zero. What remains comes from code and
    files only: for example weights that a constructor loads, even if it adds noise to them. Therefore the digest does
    not depend on the seed, which is a separate part of a run's key, nor on the processor's random number generator.

    If the constructor fails without random numbers, it gets them. If it fails then, too, the digest is that of a
    constant; the error is reported when the model is built for use.

    Args:
        build: Builds the model. It seeds torch's generator and restores it.
    """
    for mode in (_Undrawn(), nullcontext()):  # type: ignore[no-untyped-call]
        try:
            with _generators_apart(), mode, redirect_stdout(sys.stderr):
                model = build()
        except (Exception, SystemExit):  # third-party code may raise anything
            continue
        return begins_as(model)
    return Initial("the constructor raises")


def begins_as(model: Model) -> Initial:
    """The state that a model has now."""
    declared = tuple(_declared(model))
    try:
        tensors = dict(held(model))
        learnt = [name for name, value in tensors.items() if seems_learnt(value)]
        digest = tensors_digest(tensors)
    except (RuntimeError, TypeError, NotImplementedError):  # a tensor without numbers of its own
        return Initial(None)
    return Initial(digest, tuple(name for name in learnt if not f"{name}.".startswith(declared)))


def held(module: nn.Module, seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor and array of a module with its name: parameters, all buffers, and attributes.

    Attributes are searched in all submodules, and in lists, tuples and dictionaries, but not inside other objects.
    """
    seen = set() if seen is None else seen
    for path, part in module.named_modules():
        if id(part) not in seen:
            seen.add(id(part))
            own = {name: value for name, value in vars(part).items() if name not in _OF_TORCH}
            for name, value in {**part._parameters, **part._buffers, **own}.items():
                yield from _inside(f"{path}.{name}".lstrip("."), value, seen)


_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every `nn.Module` has."""


def _inside(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if not is_lazy(value):
            yield name, value.detach() if value.layout == torch.strided else value.detach().to_dense()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield name, torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    elif isinstance(value, nn.Module):  # in an attribute that torch does not look into
        yield from ((f"{name}.{inner}", tensor) for inner, tensor in held(value, seen))
    elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
        seen.add(id(value))
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _inside(f"{name}.{key}", part, seen)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of the names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _declared(model: Model) -> Iterator[str]:
    """Yield the declared names, each with a trailing dot, of a model and of the models inside it."""
    for path, part in model.named_modules():
        if isinstance(part, Model):
            yield from (f"{path}.{name}.".lstrip(".") for name in part.pretrained)


def seems_learnt(values: Tensor) -> bool:
    """Whether values differ from usual initial values without random numbers.

    Usual are a constant, two different values (an identity, a mask), and whole numbers (indices, edge filters).
    Computed tables, such as sines or a Gaussian kernel, therefore also seem learnt.
    """
    if not (values.is_floating_point() or values.is_complex()) or values.numel() < 3:
        return False
    numbers = (torch.view_as_real(values) if values.is_complex() else values).nan_to_num()
    low, high = numbers.aminmax()
    if low == high or bool(((numbers == low) | (numbers == high)).all()):
        return False
    return not bool((numbers == numbers.round()).all())


class _Undrawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Replaces everything that torch draws at random, and uninitialised memory, by zero."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if draws and func.overloadpacket.__name__.endswith("_"):  # in place: the draw itself can be spared
            return args[0].zero_()
        made = func(*args, **(kwargs or {}))
        if draws or func.overloadpacket.__name__ in UNSET:
            for tensor in made if isinstance(made, (tuple, list)) else (made,):
                if isinstance(tensor, Tensor):
                    tensor.zero_()
        return made


@contextmanager
def _generators_apart() -> Iterator[None]:
    """Seed the generators of Python and NumPy, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
