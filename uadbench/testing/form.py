"""Checks of a model's class: its words, its options, and what it defines."""

from __future__ import annotations

from uadbench.models.base import Model, ReconstructionModel
from uadbench.registry import options_of


def check_documented(model_class: type[Model]) -> None:
    """The class says in a docstring of its own what it is: `uadbench show` prints it."""
    assert (model_class.__doc__ or "").strip(), (
        f"class {model_class.__name__} has no docstring; say what it does in a line"
    )


def check_options_are_typed(model_class: type[Model]) -> None:
    """Every option has a type and a default, so that `--set` can convert it and the model runs without."""
    for name, parameter in options_of(model_class).items():
        assert parameter.annotation is not parameter.empty, f"option '{name}' has no type; write {name}: int = ..."
        assert parameter.default is not parameter.empty, f"option '{name}' has no default"
    for recipe, options in model_class.recipes.items():
        unknown = set(options) - set(options_of(model_class))
        assert not unknown, f"recipe '{recipe}' sets {sorted(unknown)}, which are no options"


def check_defines_what_it_needs(model_class: type[Model]) -> None:
    """It defines a map or a reconstruction, and optimisers if it has losses."""
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
