"""`uadbench list` and `uadbench show`: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError
from uadbench.registry import Registry, did_you_mean

KINDS = ("models", "protocols", "cohorts")
PROSE = ("from", "missing", "summary", "for")
"""Columns of lists that may be wrapped."""


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
    from uadbench.cli.fitting import Column, Fitted, terminal

    table = Fitted(*(Column(heading, "prose" if heading in PROSE else "name") for heading in rows[0]))
    for row in rows:
        table.add_row(*row.values())
    terminal().print(table)


def show(
    name: Annotated[str, typer.Argument(help="A model, a protocol, PATH.py:Class, or 'columns'.")],
    protocol: Annotated[str, typer.Option(help="On whose grid a model is measured, or its TOML file.")] = "quick",
    leaderboard: Annotated[
        Path | None, typer.Option(help="Leaderboard to look a model up in. Default: the folder of that name, if any.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a model's card (options, recipes, size, operations a scan, scores) or a protocol as TOML.

    `uadbench show columns` explains every column of scores and every number of results and tables.
    """
    if name == "columns":
        from uadbench.cli.columns import print_columns

        print_columns(as_json)
        return
    from uadbench import registry
    from uadbench.protocols.schema import load_protocol, protocol_file, protocol_names

    if name in protocol_names() or name.endswith(".toml"):
        shown = load_protocol(name)
        if as_json:
            print(json.dumps({"hash": shown.hash, **shown.model_dump(mode="json")}, indent=2))
        else:
            print(f"# hash {shown.hash}\n{protocol_file(name).read_text(encoding='utf-8').rstrip()}")
        return
    known = [*registry.models.names(), *protocol_names(), "columns"]
    if name not in known and ".py:" not in name and not name.endswith(".py"):
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
    from uadbench.protocols.schema import load_protocol, protocol_names

    rows = []
    for name in protocol_names():
        p = load_protocol(name)
        split = f"{p.split.train} / {p.split.validation} / {p.split.test}"
        rows.append(
            {"name": name, "for": p.about, "grid": str(p.lattice), "train / val / test": split, "hash": p.hash[:12]}
        )
    return rows
