"""The reference of the models, from the same model cards as `uadbench show NAME`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markdown_text import code, escaped, paragraphs, table

from uadbench import registry
from uadbench.errors import UadbenchError
from uadbench.models import card
from uadbench.models.base import Model
from uadbench.protocols.schema import Protocol, load_protocol

PROTOCOL = "quick"
"""The protocol on whose grid sizes are measured."""

LEADERBOARD = Path(__file__).parents[2] / "leaderboard" / "leaderboard.json"


def models_page() -> str:
    """A section per built-in model."""
    protocol = load_protocol(PROTOCOL)
    boards = json.loads(LEADERBOARD.read_text(encoding="utf-8"))["boards"]
    names = [origin.name for origin in registry.models.origins().values() if origin.source == "built in"]
    return "\n\n".join(_section(name, card.model_class(name), protocol, boards) for name in names) + "\n"


def _section(name: str, model: type[Model], protocol: Protocol, boards: Sequence[Any]) -> str:
    size = f"size on {protocol.lattice} ({protocol.name})"
    rows = [
        ("paper", escaped(model.reference or "none")),
        ("output", escaped(card.outputs(model))),
        ("learns", card.learning(model)),
        ("extra", code(f"uadbench[{model.extra}]") if model.extra else "none"),
        (size, _size(name, protocol)),
        *((f"pretrained {code(tensor)}", escaped(source)) for tensor, source in model.pretrained.items()),
        *_ranks(name, boards),
    ]
    parts = [f"## {name}", paragraphs(card.description(model)), table([code(name), ""], rows), _options(model)]
    return "\n\n".join(filter(None, parts))


def _size(name: str, protocol: Protocol) -> str:
    """Numbers that the model holds and operations per scan; n/a where its extra is not installed."""
    try:
        size = card.measure(name, protocol)
    except UadbenchError as error:
        return f"n/a: {escaped(str(error))}"
    text = f"{size.trainable:,} trainable parameters, {size.frozen:,} frozen, {size.buffers:,} in buffers"
    return text if not size.flops else f"{text}; {sum(size.flops.values()) / 1e9:.3g} GFLOPs per scan"


def _ranks(name: str, boards: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The model's rows on the committed leaderboard."""
    for board in boards:
        for row in board["rows"]:
            if row["model"] == name:
                if row["rank"] is None:
                    yield escaped(board["title"]), f"no rank: {row['failures']}"
                    continue
                (first, last), (mean, low, high) = row["rank"], row["ap"]
                rank = f"rank {first}" if first == last else f"rank {first} to {last}"
                scores = f"{rank} of {len(board['rows'])}, ranking AP {mean:.3f} [{low:.3f}, {high:.3f}]"
                yield escaped(board["title"]), scores


def _options(model: type[Model]) -> str:
    """The options, and the value of each under the protocols that set another than the default."""
    own = [name for name in ("quick", "paper") if model.recipes.get(name)]
    rows = []
    for option in card.options(model):
        default = "required" if option.required else code(option.default)
        values = [code(model.recipes[name].get(option.name, "")) for name in own]
        rows.append([code(option.name), code(option.type), default, *values, escaped(option.meaning)])
    return table(["option", "type", "default", *(f"under {name}" for name in own), "meaning"], rows) if rows else ""
