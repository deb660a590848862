"""The table of a cohort summary (card) for the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from uadbench.cli.fitting import Column, Fitted
from uadbench.cohorts.card.card import Card
from uadbench.cohorts.card.figures import Figure

STYLES = {"pass": "green", "fail": "bold red", "n/a": "dim"}


def card_table(card: Card) -> Group:
    """A table of every figure with its reference range."""
    verdict, note = Column("verdict", "name"), Column("note", "prose", style="dim")
    table = Fitted(Column("figure", "prose"), "measured", "expected", verdict, note)
    for figure in card.figures:
        name = f"{figure.name} [{figure.unit}]" if figure.unit not in ("", "SUVR") else figure.name
        value = "" if figure.value is None else f"{figure.value:.3g}"
        word = Text(figure.verdict, style=STYLES[figure.verdict])
        table.add_row(name, value, _expected(figure), word, figure.note)
    verdicts = [figure.verdict for figure in card.figures]
    counted = ", ".join(f"{verdicts.count(word)} {word}" for word in STYLES)
    people = ", ".join(f"{name}: {count}" for name, count in card.counts.items())
    heading = f"{card.cohort} (version {card.version}, fingerprint {card.fingerprint[:12]})"
    return Group(Text(heading), Text(people), table, f"{len(verdicts)} figures: {counted}")


def _expected(figure: Figure) -> str:
    low, high = ("" if bound is None else f"{bound:.3g}" for bound in (figure.low, figure.high))
    return f"{low} to {high}" if low and high else f"from {low}" if low else f"to {high}"
