"""What a model is before it has learnt anything: words, options, output, size, and what one scan costs."""

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
    """A constructor argument that a user may set; a `required` one has no default."""

    name: str
    type: str
    default: Any
    required: bool
    meaning: str


@dataclass(frozen=True)
class Size:
    """How large an untrained model is on a grid, and what it computes to look at one scan.

    Attributes:
        trainable, frozen, buffers: How many numbers gradients change, how many other parameters, how many in buffers.
        flops: Floating-point operations of matrix products and convolutions by kind, a multiply-add counted as two;
            None where they could not be counted.
        not_counted: Other kinds of operations that were met, besides element-wise ones.
        fault: Why operations could not be counted, or "".
    """

    trainable: int
    frozen: int
    buffers: int
    flops: dict[str, int] | None
    not_counted: tuple[str, ...]
    fault: str = ""


def model_class(name: str) -> type[Model]:
    """The class behind a model's name or PATH.py:Class.

    Raises:
        InputError: Where it is unknown or no Model.
    """
    found = registry.models.get(name)
    if not issubclass(found, Model):
        raise InputError(f"{name}: class {found.__name__} is not a uadbench.models.base.Model")
    return found


def description(plugin: type[Model]) -> str:
    """The docstring of a model as far as its first section."""
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
    """What the model gives."""
    if not issubclass(plugin, ReconstructionModel):
        return "anomaly map only (restoration is n/a)"
    return f"reconstruction and anomaly map ({'its own' if _has_own_map(plugin) else 'reconstruction - input'})"


def learning(plugin: type[Model]) -> str:
    """How the model learns."""
    if plugin.losses is not Model.losses:
        return "by gradients"
    return "nothing" if plugin.fit is Model.fit else "in closed form"


def attributes(plugin: type[Model]) -> dict[str, Any]:
    """The class attributes of the contract (see `Model`) as this model has them."""
    return {name: getattr(plugin, name) for name in inspect.get_annotations(Model)}


def measure(name: str, protocol: Protocol) -> Size:
    """Make a model as `protocol` would and let it look at one scan, a flat brain.

    Operations are those that torch dispatches (`torch.utils.flop_counter`): what a model computes outside of torch is
    not seen, and one that computes until it is content may need more for a real scan.

    Raises:
        InputError: If the model cannot be made.
    """
    recipe = model_class(name).recipes.get(protocol.training.recipe, {})
    model = build_model(name, protocol.lattice, recipe, seed=0).eval()
    total = sum(weight.numel() for weight in model.parameters())
    trainable = sum(w.numel() for w in model.parameters() if w.requires_grad) if model.learns_by_gradients else 0
    buffers = sum(buffer.numel() for buffer in model.buffers())
    try:
        flops, not_counted = _operations(model, protocol.lattice)
    except Exception as error:  # anybody's code, and a model that has learnt nothing need not work
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
    # attention in one kernel is not counted on a CPU; as two products it is
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
    """Whether the map is more than the difference between reconstruction and input."""
    return plugin.anomaly_map is not ReconstructionModel.anomaly_map


def _docstring(plugin: type[Model]) -> Docstring:
    from docstring_parser import parse

    return parse(inspect.getdoc(plugin) or "")


def _type_name(annotation: Any) -> str:
    """A type as a user reads it, with its bounds."""
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
