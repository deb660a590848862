"""The model card of `uadbench show`: collected as JSON values, and printed for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uadbench.protocols.schema import Protocol

if TYPE_CHECKING:
    from uadbench.leaderboard.ranking import Ranking

OWN_LINES = ("reference", "family", "recipes", "extra", "registered_name")
"""Class attributes that have lines of their own on the card."""


def read_card(name: str, protocol: Protocol, leaderboard: Path | None) -> dict[str, Any]:
    """Collect everything about a model.

    Args:
        name: Name of the model, or PATH.py:Class.
        protocol: The protocol whose grid sets the model's size.
        leaderboard: The leaderboard folder; None for the folder of that name if it exists, otherwise the one that comes
            with uadbench.

    Returns:
        The card. Its `size` is None, with a reason in `fault`, if the model cannot be built on this machine; its
        `ranking`, the rows of the model on the leaderboard, is None without a leaderboard.
    """
    from uadbench.errors import UadbenchError
    from uadbench.leaderboard.ranking import BOARDS, LEADERBOARD, rankings, shipped_board
    from uadbench.models import card
    from uadbench.models.extras import missing_packages
    from uadbench.models.families import OTHER
    from uadbench.protocols.schema import load_protocol, protocol_names

    plugin = card.model_class(name)
    size, fault = None, ""
    try:
        size = card.measure(name, protocol)
    except UadbenchError as error:
        fault = str(error)
    except Exception as error:  # a constructor may be any code, and the rest of the card does not need it
        fault = f"the model cannot be built: {type(error).__name__}: {' '.join(str(error).split())}"
    root = leaderboard or (LEADERBOARD if (LEADERBOARD / BOARDS).is_file() else shipped_board())
    attributes = card.attributes(plugin)
    recipes = {name: load_protocol(name).training.recipe for name in protocol_names()}
    return {
        "name": plugin.registered_name,
        "family": plugin.family or OTHER,
        "description": card.description(plugin),
        "reference": plugin.reference,
        "gives": card.outputs(plugin),
        "learns": card.learning(plugin),
        "extra": {"name": plugin.extra, "missing": missing_packages(plugin.extra)},
        "attributes": attributes,
        "options": [asdict(option) for option in card.options(plugin)],
        "recipes": {name: dict(plugin.recipes.get(recipe, {})) for name, recipe in recipes.items()},
        "protocol": {"name": protocol.name, "grid": str(protocol.lattice)},
        "size": None if size is None else asdict(size),
        "fault": fault,
        "ranking": _with_machine(rankings(root, plugin.registered_name)) if root else None,
    }


def _with_machine(rows: Sequence[Ranking]) -> list[dict[str, Any]]:
    """The rows, each with how this machine differs from that of its runs (`machine`)."""
    import torch

    from uadbench.leaderboard.machines import machine_difference
    from uadbench.runtime.machine import processor

    here = torch.get_num_threads(), processor()
    return [{**asdict(row), "machine": machine_difference(*here, row)} for row in rows]


def print_card(card: Mapping[str, Any]) -> None:
    """Print a card to the terminal.

    Args:
        card: The card, from `read_card`.
    """
    from rich.text import Text

    from uadbench.cli.fitting import Column, Fitted, label_table, terminal

    console = terminal()
    console.print(Text(card["name"], style="bold"))
    for paragraph in card["description"].split("\n\n"):
        console.print(Text(f"\n{' '.join(paragraph.split())}"))
    console.print()
    console.print(label_table(_details(card)))
    if not card["options"]:
        return
    recipes = _recipes(card["recipes"])
    protocols = (Column(names, "name") for names in recipes)
    columns = (Column("option and default", "name"), Column("type", "prose"), *protocols, Column("meaning", "prose"))
    table = Fitted(*columns)
    for option in card["options"]:
        value = "VALUE" if option["required"] else option["default"]
        values = [str(recipe.get(option["name"], "")) for recipe in recipes.values()]
        table.add_row(f"--set {card['name']}.{option['name']}={value}", option["type"], *values, option["meaning"])
    console.print(table)


def _details(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of each line."""
    others = {name: value for name, value in card["attributes"].items() if name not in OWN_LINES}
    return [
        ("family", card["family"]),
        ("paper", card["reference"] or "none"),
        ("output", card["gives"]),
        ("training", card["learns"]),
        ("requires", _needs(card["extra"])),
        *((name, str(value)) for name, value in others.items()),
        *_size(card),
        *_rankings(card),
    ]


def _needs(extra: Mapping[str, Any]) -> str:
    if not extra["name"]:
        return "no extra"
    if not extra["missing"]:
        return f"extra {extra['name']}, installed"
    missing = " and ".join(extra["missing"])
    return f"extra {extra['name']}; {missing} is missing: pip install 'uadbench[{extra['name']}]'"


def _size(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Size of the model, and operations per scan."""
    where = f"{card['protocol']['grid']}, protocol {card['protocol']['name']}"
    size = card["size"]
    if size is None:
        return [("size", f"n/a: {card['fault']}")]
    numbers = f"{size['trainable']:,} trainable parameters, {size['frozen']:,} frozen, {size['buffers']:,} in buffers"
    if size["flops"] is None:
        return [("size", f"{numbers} ({where})"), ("one scan", f"n/a: the untrained model fails ({size['fault']})")]
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in size["flops"].items())
    total = sum(size["flops"].values())
    counted = f"{total / 1e9:.3g} GFLOPs ({kinds})" if total else "0 FLOPs (no matrix product or convolution)"
    rest = ", ".join(["element-wise operations", *size["not_counted"]])
    return [
        ("size", f"{numbers}, untrained ({where})"),
        ("one scan", f"{counted}; a multiply-add counts as two"),
        ("not counted", f"{rest}; operations outside PyTorch"),
    ]


def _rankings(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rank and scores on each board."""
    if card["ranking"] is None:
        return [("scores", "no leaderboard; give one with --leaderboard")]
    lines = [(row["board"], _ranking(row, card["name"])) for row in card["ranking"]]
    return lines or [("scores", "not on the board")]


def _ranking(row: Mapping[str, Any], name: str) -> str:
    from uadbench.report.words import number

    low, high = row["rank"] or (None, None)
    ranks = f"rank {low}" if low == high else f"rank {low} to {high}"
    rank = "no rank" if low is None else f"{ranks} of {row['rows']}"
    mean, lower, upper = row["ap"]
    parts = ", ".join(f"{part} {number(row[part][0])}" for part in ("dementias", "unseen", "native"))
    label = "" if row["row"] == name else f"{row['row']}: "
    verified = ", ".join(filter(None, ("reproduced" if row["reproduced"] else "self-reported", row["failures"])))
    return (
        f"{label}{rank}, ranking AP {number(mean)} [{number(lower)}, {number(upper)}] ({parts}); "
        f"seeds {row['seeds']}, folds {row['folds']}, {verified}" + (f"; {row['machine']}" if row["machine"] else "")
    )


def _recipes(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Values that differ from the defaults, by column heading; protocols with the same values share a column."""
    columns: dict[str, Mapping[str, Any]] = {}
    for protocol, chosen in recipes.items():
        same = next((names for names, own in columns.items() if own == chosen), None)
        names = protocol if same is None else f"{same}, {protocol}"
        columns = {key: own for key, own in columns.items() if key != same} | {names: chosen}
    return {names: own for names, own in columns.items() if own}
