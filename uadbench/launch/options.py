"""Options of models, checked before any scan is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.checkpoint import build_model
from uadbench.models.weights_file import GivenWeights, load_given
from uadbench.runs.keys import Run


def checked_options(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]], trained_with: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Check models and their options.

    Args:
        names: Models, by name or as PATH.py:Class.
        options: Model -> option -> value; a model of a file may be called by its class.
        trained_with: Options that given weights were trained with; those in `options` win.

    Returns:
        Name -> option -> value, for every name.

    Raises:
        InputError: If a model or an option is unknown, a value does not fit, or options belong to none of the models.
    """
    left = {name: dict(values) for name, values in options.items()}
    checked: dict[str, dict[str, Any]] = {}
    for name in names:
        plugin = registry.models.get(name)
        if not issubclass(plugin, Model):
            raise InputError(f"{name}: class {plugin.__name__} is not a uadbench.models.base.Model")
        label = str(getattr(plugin, "registered_name", name))
        own = {**trained_with, **left.pop(label, {}), **left.pop(name, {})}
        checked[name] = registry.check_options(label, plugin, own)
    if left:
        stray = next(iter(left))
        raise InputError(f"options of '{stray}': '{stray}' is not among the models of this run ({', '.join(names)})")
    return checked


def require_fit(run: Run, weights: GivenWeights) -> None:
    """Check that given weights are those of a run's model.

    Raises:
        InputError: If they are not.
    """
    with redirect_stdout(sys.stderr):  # what a constructor prints is not output of ours
        model = build_model(run.model, run.fold_data.protocol.lattice, run.all_options, seed=0)
    load_given(model, weights)
