"""Model card of an untrained model: description, options, output, size, and the operations for one scan."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import torch

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models.base import Model, ReconstructionModel
from uadbench.models.checkpoint import build_model
from uadbench.protocols.schema import Protocol
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid

if TYPE_CHECKING:
    from docstring_parser import Docstring

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True)
class Option:
    """A constructor argument that a user can set; it has no default if `required`."""

    name: str
    type: str
    default: Any
    required: bool
    meaning: str


@dataclass(frozen=True)
class Size:
    """The size of an untrained model on a grid, and the operations that it needs for one scan.

    Attributes:
        trainable: Number of parameters that training changes by gradients.
        frozen: Number of all other parameters.
        buffers: Number of values in buffers.
        flops: Floating-point operations of matrix products and convolutions by kind, where a multiply-add counts as
            two; None if they could not be counted.
        not_counted: Other kinds of operations that occurred, except element-wise ones.
        fault: Why operations could not be counted, or "".
    """

    trainable: int
    frozen: int
    buffers: int
    flops: dict[str, int] | None
    not_counted: tuple[str, ...]
    fault: str = ""


def model_class(name: str) -> type[Model]:
    """The class of a model, given its name or PATH.py:Class.

    Raises:
        InputError: If it is unknown or not a Model.
    """
    found = registry.models.get(name)
    if not issubclass(found, Model):
        raise InputError(f"{name}: class {found.__name__} is not a uadbench.models.base.Model")
    return found


def description(plugin: type[Model]) -> str:
    """The docstring of a model up to its first section."""
    return _docstring(plugin).description or ""


def options(plugin: type[Model]) -> list[Option]:
    """The options of a model, with their meanings from the section "Args" of its docstring (or numpydoc's)."""
    meanings = {
        name.strip(): " ".join((argument.description or "").split())
        for argument in _docstring(plugin).params
        for name in argument.arg_name.split(",")
    }
    found = []
    for name, parameter in registry.options_of(plugin).items():
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        found.append(Option(name, _type_name(parameter.annotation), default, required, meanings.get(name, "")))
    return found


def outputs(plugin: type[Model]) -> str:
    """What the model outputs, in words."""
    if not issubclass(plugin, ReconstructionModel):
        return "anomaly map only (restoration is n/a)"
    return f"reconstruction and anomaly map ({'its own' if _has_own_map(plugin) else 'reconstruction - input'})"


def learning(plugin: type[Model]) -> str:
    """How the model learns, in words."""
    if plugin.losses is not Model.losses:
        return "by gradients"
    return "nothing" if plugin.fit is Model.fit else "in closed form"


def attributes(plugin: type[Model]) -> dict[str, Any]:
    """Values of the class attributes that the contract defines (see `Model`)."""
    return {name: getattr(plugin, name) for name in inspect.get_annotations(Model)}


def measure(name: str, protocol: Protocol) -> Size:
    """Build a model as `protocol` would, and count its operations for one scan, a flat brain.

    Only operations that torch dispatches are counted (`torch.utils.flop_counter`), not computations outside torch. A
    model that iterates until convergence may need more operations for a real scan.

    Raises:
        InputError: If the model cannot be built.
    """
    recipe = model_class(name).recipes.get(protocol.training.recipe, {})
    model = build_model(name, protocol.lattice, recipe, seed=0).eval()
    total = sum(weight.numel() for weight in model.parameters())
    trainable = sum(w.numel() for w in model.parameters() if w.requires_grad) if model.learns_by_gradients else 0
    buffers = sum(buffer.numel() for buffer in model.buffers())
    try:
        flops, not_counted = _operations(model, protocol.lattice)
    except Exception as error:  # third-party code, and an untrained model need not work
        fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Size(trainable, total - trainable, buffers, None, (), fault)
    return Size(trainable, total - trainable, buffers, flops, not_counted)


def _operations(model: Model, grid: Grid) -> tuple[dict[str, int], tuple[str, ...]]:
    """Counted operations by kind, and the kinds that are not counted."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    met: set[Any] = set()

    class Witness(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            met.add(func)
            return func(*args, **(kwargs or {}))

    images = torch.from_numpy(brain_mask(grid).astype("float32"))[None, None] / 2
    batch = Batch(images, torch.tensor([70.0]), torch.tensor([0.0]), [0])
    witness = Witness()  # type: ignore[no-untyped-call]
    # on a CPU, attention is only counted as two matrix products, not as a fused kernel
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), witness, FlopCounterMode(display=False) as counter:
        if isinstance(model, ReconstructionModel):
            model.reconstruct(batch)
        if _has_own_map(type(model)):
            model.anomaly_map(batch)
    counted = counter.get_flop_counts().get("Global", {})
    others = {
        func._schema.name.removeprefix("aten::")
        for func in met
        if func._overloadpacket not in counted and not func.is_view and torch.Tag.pointwise not in func.tags
    }
    return {str(kind).removeprefix("aten."): count for kind, count in counted.items()}, tuple(sorted(others))


def _has_own_map(plugin: type[Model]) -> bool:
    """Whether the anomaly map is more than reconstruction minus input."""
    return plugin.anomaly_map is not ReconstructionModel.anomaly_map


def _docstring(plugin: type[Model]) -> Docstring:
    from docstring_parser import parse

    return parse(inspect.getdoc(plugin) or "")


def _type_name(annotation: Any) -> str:
    """A readable name of a type, with its bounds."""
    if get_origin(annotation) is Annotated:
        plain, *notes = get_args(annotation)
        bounds = [
            f"{sign} {getattr(bound, name)}"
            for note in notes
            for bound in getattr(note, "metadata", [note])
            for name, sign in _BOUNDS.items()
            if hasattr(bound, name)
        ]
        return " ".join(filter(None, (_type_name(plain), ", ".join(bounds))))
    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, get_args(annotation)))
    return inspect.formatannotation(annotation)
