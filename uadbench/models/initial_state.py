"""The state that a model begins with: what its constructor makes of code and files, apart from what it draws."""

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
"""Operations whose result is whatever was in memory."""

NAMED = 3
"""Tensors that a message names."""


@dataclass(frozen=True)
class Initial:
    """Where a model begins.

    Attributes:
        digest: Of every parameter, buffer, and other tensor or array that the model holds; None where some of it, such
            as a tensor of another library's class, cannot be read.
        undeclared: Names of those that seem to be learnt, and that no `Model.pretrained` declares.
    """

    digest: str | None
    undeclared: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The first of the undeclared ones, in words; "" if there are none."""
        more = len(self.undeclared) - NAMED
        return ", ".join(self.undeclared[:NAMED]) + (f" and {more} more" if more > 0 else "")


def initial_state(build: Callable[[], Model]) -> Initial:
    """Build a model in which nothing is drawn, and look at what it holds.

    Every number that torch would draw is zero, and so is memory that is not set. What remains comes from code and files
    alone: weights that a constructor loads, also those to which it adds noise. So the digest does not depend on the
    seed, which a key holds beside it, and is the same on processors that draw other last digits.

    `build` seeds torch's generator, and puts it back. A constructor that cannot do without draws has its draws. One
    that raises has a digest, too: its error is reported when the model is built to be used.
    """
    for mode in (_Undrawn(), nullcontext()):  # type: ignore[no-untyped-call]
        try:
            with _generators_apart(), mode, redirect_stdout(sys.stderr):
                model = build()
        except (Exception, SystemExit):  # anybody's code
            continue
        return begins_as(model)
    return Initial("the constructor raises")


def begins_as(model: Model) -> Initial:
    """What a model holds now."""
    declared = tuple(_declared(model))
    try:
        tensors = dict(held(model))
        learnt = [name for name, value in tensors.items() if seems_learnt(value)]
        digest = tensors_digest(tensors)
    except (RuntimeError, TypeError, NotImplementedError):  # a tensor without numbers of its own
        return Initial(None)
    return Initial(digest, tuple(name for name in learnt if not f"{name}.".startswith(declared)))


def held(module: nn.Module, seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor and array that a module holds, by name: parameters, buffers (in checkpoints or not), and attributes.

    Attributes are looked at in every module inside, and in lists, tuples and dictionaries, but not in other objects.
    """
    seen = set() if seen is None else seen
    for path, part in module.named_modules():
        if id(part) not in seen:
            seen.add(id(part))
            own = {name: value for name, value in vars(part).items() if name not in _OF_TORCH}
            for name, value in {**part._parameters, **part._buffers, **own}.items():
                yield from _inside(f"{path}.{name}".lstrip("."), value, seen)


_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


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
    """SHA-256 (hex) of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _declared(model: Model) -> Iterator[str]:
    """What the names of declared tensors, and a dot, begin with: of the model, and of models inside it."""
    for path, part in model.named_modules():
        if isinstance(part, Model):
            yield from (f"{path}.{name}.".lstrip(".") for name in part.pretrained)


def seems_learnt(values: Tensor) -> bool:
    """Whether numbers are other than those that code commonly begins with, where nothing is drawn.

    Code begins with a constant, with two different values (an identity, a mask), or with whole numbers (indices, edge
    filters). Tables that code computes, such as sines or a Gaussian kernel, seem learnt as well.
    """
    if not (values.is_floating_point() or values.is_complex()) or values.numel() < 3:
        return False
    numbers = (torch.view_as_real(values) if values.is_complex() else values).nan_to_num()
    low, high = numbers.aminmax()
    if low == high or bool(((numbers == low) | (numbers == high)).all()):
        return False
    return not bool((numbers == numbers.round()).all())


class _Undrawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Zero in place of everything that torch draws, and of memory that is not set."""

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
    """Seed the generators of Python and NumPy, and put them back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
