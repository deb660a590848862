"""`uadbench list` and `uadbench show`: overview and details of models, protocols, cohorts and score columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError
from uadbench.registry import Registry, did_you_mean

KINDS = ("models", "protocols", "cohorts")
PROSE = ("from", "missing", "summary", "for")
"""Columns of lists that may wrap."""


def list_plugins(
    kind: Annotated[str, typer.Argument(help="What to list: models, protocols or cohorts.")] = "models",
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the available models, protocols or cohorts."""
    if kind not in KINDS:
        raise InputError(f"cannot list '{kind}'; {did_you_mean(kind, list(KINDS))}")
    rows = _protocols() if kind == "protocols" else _plugins(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from uadbench.cli.fitting import Column, Fitted, terminal

    table = Fitted(*(Column(heading, "prose" if heading in PROSE else "name") for heading in rows[0]))
    for row in rows:
        table.add_row(*row.values())
    terminal().print(table)


def show(
    name: Annotated[
        str, typer.Argument(help="Name of a model or protocol, PATH.py:Class for your own model, or 'columns'.")
    ],
    protocol: Annotated[
        str, typer.Option(help="Protocol (name or TOML file) whose image grid sets the model's size.")
    ] = "quick",
    leaderboard: Annotated[
        Path | None,
        typer.Option(help="Leaderboard folder with scores of the model. Default: ./leaderboard, if it exists."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the details as JSON.")] = False,
) -> None:
    """Show details of a model (options, size, scores) or the settings of a protocol.

    'uadbench show columns' explains every score column and every number in
    results and tables.
    """
    if name == "columns":
        from uadbench.cli.columns import print_columns

        print_columns(as_json)
        return
    from uadbench import registry
    from uadbench.protocols.schema import load_protocol, protocol_file, protocol_names

    if name in protocol_names() or name.endswith(".toml"):
        settings = load_protocol(name)
        if as_json:
            print(json.dumps({"hash": settings.hash, **settings.model_dump(mode="json")}, indent=2))
        else:
            print(f"# hash {settings.hash}\n{protocol_file(name).read_text(encoding='utf-8').rstrip()}")
        return
    names = [*registry.models.names(), *protocol_names(), "columns"]
    if name not in names and ".py:" not in name and not name.endswith(".py"):
        raise InputError(f"no model or protocol named '{name}'; {did_you_mean(name, names)}")
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
    from uadbench.protocols.schema import load_protocol, protocol_names

    rows = []
    for name in protocol_names():
        p = load_protocol(name)
        split = f"{p.split.train} / {p.split.validation} / {p.split.test}"
        rows.append(
            {"name": name, "for": p.about, "grid": str(p.lattice), "train / val / test": split, "hash": p.hash[:12]}
        )
    return rows
