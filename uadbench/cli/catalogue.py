"""`uadbench list` and `uadbench show`: overview and details of models, protocols, cohorts and score columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from uadbench.api.listing import model_rows
from uadbench.errors import InputError
from uadbench.registry import did_you_mean

KINDS = ("models", "protocols", "cohorts")
PROSE = ("source", "missing", "summary", "for")
"""Columns of lists that may wrap."""


def list_plugins(
    kind: Annotated[str, typer.Argument(help="What to list: models, protocols or cohorts.")] = "models",
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the available models, protocols or cohorts.

    Models are listed by family, with their score on the leaderboard that comes
    with uadbench.
    """
    if kind not in KINDS:
        raise InputError(f"cannot list '{kind}'; {did_you_mean(kind, list(KINDS))}")
    rows = {"models": model_rows, "protocols": _protocols, "cohorts": _cohorts}[kind]()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if kind == "models":
        _print_models(rows)
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
        typer.Option(
            help="Leaderboard folder with scores of the model. Default: ./leaderboard if it exists, otherwise the one "
            "that comes with uadbench."
        ),
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


def _print_models(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the models under the headings of their families, and the board that their scores are from."""
    from rich.text import Text

    from uadbench.cli.fitting import Column, Fitted, terminal
    from uadbench.report.words import number

    optional = [
        column for column, common in (("missing", ""), ("source", "built in")) if any(r[column] != common for r in rows)
    ]
    scores = (Column("ranking AP", style="bold"), "95 %")
    table = Fitted(
        Column("model", "name"),
        *scores,
        Column("extra", "name"),
        *(Column(c, "prose") for c in optional),
        Column("summary", "prose"),
    )
    for family, models in groupby(rows, key=lambda row: str(row["family"])):
        table.add_section(family)
        for row in models:
            interval = "" if row["low"] is None else f"{row['low']:.3f}-{row['high']:.3f}"
            score = "" if row["ranking_ap"] is None else number(row["ranking_ap"])
            table.add_row(row["name"], score, interval, row["extra"], *(row[c] for c in optional), row["summary"])
    console = terminal()
    console.print(table)
    boards = {row["board"]: f"protocol {row['protocol']}, cohort {row['cohort']}" for row in rows if row["board"]}
    for board, about in boards.items():
        console.print(Text(f"ranking AP [95 %]: leaderboard {board} ({about})", style="dim"))


def _cohorts() -> list[dict[str, Any]]:
    from uadbench import registry

    origins = registry.cohorts.origins().values()
    return [{"name": origin.name, "source": origin.source, "summary": origin.summary} for origin in origins]


def _protocols() -> list[dict[str, Any]]:
    from uadbench.protocols.schema import load_protocol, protocol_names

    rows = []
    for name in protocol_names():
        p = load_protocol(name)
        split = f"{p.split.train} / {p.split.validation} / {p.split.test}"
        rows.append(
            {"name": name, "for": p.about, "grid": str(p.lattice), "train / val / test": split, "hash": p.hash[:12]}
        )
    return rows
