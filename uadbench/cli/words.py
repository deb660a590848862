"""Parsing of comma-separated lists on the command line."""

from __future__ import annotations

from uadbench.errors import InputError


def words(option: str, text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list of diagnoses.

    Args:
        option: Name of the option, for messages.
        text: Its value, such as `CN,SMC`; None if the option is not given.

    Returns:
        The parts; empty if the option is not given.

    Raises:
        InputError: If the list is empty.
    """
    parts = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not parts:
        raise InputError(f"{option} '{text}': give a diagnosis, such as CN")
    return parts
