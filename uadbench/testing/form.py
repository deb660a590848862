"""Checks of a model's class: its docstring, its options, and the methods that it defines."""

from __future__ import annotations

from uadbench.models.base import Model, ReconstructionModel
from uadbench.registry import options_of


def check_documented(model_class: type[Model]) -> None:
    """The class has a docstring of its own that describes it; `uadbench show` prints it."""
    assert (model_class.__doc__ or "").strip(), (
        f"class {model_class.__name__} has no docstring; say what it does in a line"
    )


def check_options_are_typed(model_class: type[Model]) -> None:
    """Every option has a type and a default, so that `--set` can convert it and the model runs without it."""
    for name, parameter in options_of(model_class).items():
        assert parameter.annotation is not parameter.empty, f"option '{name}' has no type; write {name}: int = ..."
        assert parameter.default is not parameter.empty, f"option '{name}' has no default"
    for recipe, options in model_class.recipes.items():
        unknown = set(options) - set(options_of(model_class))
        assert not unknown, f"recipe '{recipe}' sets {sorted(unknown)}, which are not options"


def check_defines_what_it_needs(model_class: type[Model]) -> None:
    """The class defines a map or a reconstruction, and optimisers if it defines losses."""
    if issubclass(model_class, ReconstructionModel):
        assert model_class.reconstruct is not ReconstructionModel.reconstruct, "reconstruct is not defined"
    else:
        assert model_class.anomaly_map is not Model.anomaly_map, "anomaly_map is not defined"
    if model_class.losses is not Model.losses:
        assert model_class.optimisers is not Model.optimisers, "losses is defined, but optimisers is not"
        assert model_class.fit is Model.fit, (
            "losses and fit are both defined, and fit would never be called; use prepare"
        )
    else:
        assert model_class.optimisers is Model.optimisers, "optimisers is defined, but losses is not"
