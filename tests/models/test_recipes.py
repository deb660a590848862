"""The recipes of the models are those that the committed search has chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from uadbench import registry

TABLE = pd.read_csv(Path(__file__).parents[2] / "benchmarks" / "recipes" / "quick.csv", keep_default_na=False)
NOTHING_TO_CHOOSE = {"identity", "maxcheck", "mean", "wiener"}


def test_every_family_had_the_same_number_of_trials() -> None:
    assert (
        set(TABLE["model"])
        == {o.name for o in registry.models.origins().values() if o.source == "built in"} - NOTHING_TO_CHOOSE
    )
    assert set(TABLE.groupby("model").size()) == {4}


@pytest.mark.parametrize("name", sorted(set(TABLE["model"])))
def test_the_recipe_is_the_best_trial(name: str) -> None:
    tried = TABLE[TABLE["model"] == name]
    assert set(tried["failure"]) == {""}
    best = tried.loc[tried["ap"].astype(float).idxmax()]
    plugin = registry.models.get(name)
    options = {option: p.default for option, p in registry.options_of(plugin).items()} | dict(
        plugin.recipes.get("quick", {})
    )
    chosen = json.loads(best["options"])
    assert {option: options[option] for option in chosen} == chosen
