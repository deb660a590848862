"""`uadbench list` and `uadbench show`: what there is."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from uadbench.errors import InputError
from uadbench.registry import Registry, did_you_mean

KINDS = ("models", "protocols", "cohorts")


def list_plugins(
    kind: Annotated[str, typer.Argument(help="models, protocols or cohorts")] = "models",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models, protocols or cohorts; nothing heavy is imported."""
    if kind not in KINDS:
        raise InputError(f"cannot list '{kind}'; {did_you_mean(kind, list(KINDS))}")
    rows = _protocols() if kind == "protocols" else _plugins(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(rows[0] if rows else ("name",)))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table)


def show(
    name: Annotated[str, typer.Argument(help="A model, a protocol, or PATH.py:Class.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a model's card or a protocol's content."""
    from uadbench import registry
    from uadbench.protocol import load_protocol, protocol_names

    if name in protocol_names() or name.endswith(".toml"):
        protocol = load_protocol(name)
        print(json.dumps({"hash": protocol.hash, **protocol.model_dump(mode="json")}, indent=2))
        return
    known = registry.models.names() + protocol_names()
    if name not in known and ".py:" not in name:
        raise InputError(f"no model or protocol is called '{name}'; {did_you_mean(name, known)}")
    card = _card(registry.models.get(name))
    if as_json:
        print(json.dumps(card, indent=2))
        return
    print(f"{card['name']}\n\n{card['description']}\n")
    if card["reference"]:
        print(f"Reference: {card['reference']}")
    print(f"Gives: {card['gives']}")
    for option, value in card["options"].items():
        print(f"  --set {card['name']}.{option}={value}")
    for recipe, options in card["recipes"].items():
        print(f"Recipe for {recipe}: {options}")


def _card(plugin: type) -> dict[str, Any]:
    import inspect

    from uadbench import registry
    from uadbench.models.base import ReconstructionModel

    reconstructs = issubclass(plugin, ReconstructionModel)
    return {
        "name": plugin.registered_name,  # type: ignore[attr-defined]
        "description": inspect.getdoc(plugin) or "",
        "reference": getattr(plugin, "reference", ""),
        "gives": "reconstruction and anomaly map" if reconstructs else "anomaly map only (restoration is n/a)",
        "options": {option: p.default for option, p in registry.options_of(plugin).items()},
        "recipes": {recipe: dict(options) for recipe, options in getattr(plugin, "recipes", {}).items()},
    }


def _plugins(kind: str) -> list[dict[str, str]]:
    from uadbench import registry

    chosen: Registry = getattr(registry, kind)
    return [{"name": o.name, "from": o.source, "summary": o.summary} for o in chosen.origins().values()]


def _protocols() -> list[dict[str, str]]:
    from uadbench.protocol import load_protocol, protocol_names

    rows = []
    for name in protocol_names():
        p = load_protocol(name)
        split = f"{p.split.train} / {p.split.validation} / {p.split.test}"
        rows.append(
            {"name": name, "for": p.about, "grid": str(p.lattice), "train / val / test": split, "hash": p.hash[:12]}
        )
    return rows
