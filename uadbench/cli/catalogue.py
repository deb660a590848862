"""`uadbench list` and `uadbench show`: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

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
    from rich.markup import escape
    from rich.table import Table

    from uadbench.cli.display import Terminal

    table = Table(*(rows[0] if rows else ("name",)))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Terminal().print(table)


def show(
    name: Annotated[str, typer.Argument(help="A model, a protocol, or PATH.py:Class.")],
    protocol: Annotated[str, typer.Option(help="On whose grid a model is measured, or its TOML file.")] = "quick",
    leaderboard: Annotated[
        Path | None, typer.Option(help="Leaderboard to look a model up in. Default: the folder of that name, if any.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a model's card (options, recipes, size, operations a scan, scores) or a protocol's content."""
    from uadbench import registry
    from uadbench.protocol import load_protocol, protocol_names

    if name in protocol_names() or name.endswith(".toml"):
        shown = load_protocol(name)
        print(json.dumps({"hash": shown.hash, **shown.model_dump(mode="json")}, indent=2))
        return
    known = registry.models.names() + protocol_names()
    if name not in known and ".py:" not in name:
        raise InputError(f"no model or protocol is called '{name}'; {did_you_mean(name, known)}")
    from uadbench.cli.model_card import print_card, read_card

    card = read_card(name, load_protocol(protocol), leaderboard)
    if as_json:
        print(json.dumps(card, indent=2, default=str))
    else:
        print_card(card)


def _plugins(kind: str) -> list[dict[str, str]]:
    from uadbench import registry
    from uadbench.models.extras import missing_packages

    chosen: Registry = getattr(registry, kind)
    rows = []
    for origin in chosen.origins().values():
        row = {"name": origin.name, "from": origin.source}
        if kind == "models":
            row |= {"extra": origin.extra, "missing": ", ".join(missing_packages(origin.extra))}
        rows.append({**row, "summary": origin.summary})
    return rows


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
