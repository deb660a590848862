"""Counts with singular or plural nouns, for messages."""

from __future__ import annotations


def counted(number: int, what: str, several: str = "") -> str:
    """A number and a noun, such as `1 board` or `2 boards`.

    Args:
        number: The number.
        what: The noun in the singular.
        several: The plural; by default the singular with an s.

    Returns:
        The text.
    """
    return f"{number} {what if number == 1 else several or what + 's'}"
