"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, what: str, several: str = "") -> str:
    """`1 board`, `2 boards`; `several` is a plural that is not made with an s."""
    return f"{number} {what if number == 1 else several or what + 's'}"
