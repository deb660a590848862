"""Small pieces of Markdown: tables, code in cells, and text that stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a line break inside a cell becomes a blank."""
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    lines += [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    """Text as code; "" stays empty."""
    return f"`{text}`" if str(text) else ""


def escaped(text: str) -> str:
    """Prose of the program as prose of Markdown: what is in backticks stays code, and nothing else is markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_\[\]<>$^~\\])", r"\\\1", part) for part in parts)


def paragraphs(text: str) -> str:
    """Paragraphs of a docstring, each on one line."""
    return "\n\n".join(escaped(" ".join(each.split())) for each in text.split("\n\n") if each.strip())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
