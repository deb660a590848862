"""Lists of words on the command line."""

from __future__ import annotations

from uadbench.errors import InputError


def words(option: str, text: str | None) -> tuple[str, ...]:
    """`CN,SMC` in parts; nothing for an option that is not given.

    Raises:
        InputError: For one that is empty.
    """
    parts = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not parts:
        raise InputError(f"{option} '{text}': give a diagnosis, such as CN")
    return parts
