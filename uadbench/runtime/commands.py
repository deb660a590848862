"""Command lines in messages, quoted so that they can be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

Word = str | Path


def command(*words: Word, **options: Word | int | Sequence[Word] | None) -> str:
    """Format a command line.

    Args:
        *words: The program, its subcommand and arguments; a Path is formatted by `spelled`.
        **options: The options: `tracking_uri="x"` becomes `--tracking-uri x`, True is a flag, a sequence repeats the
            option, and None or False leaves it out.

    Returns:
        The words separated by spaces, each quoted if the shell requires it.
    """
    line = [_text(word) for word in words]
    for name, given in options.items():
        option = f"--{name.replace('_', '-')}"
        if given is None or given is False:
            continue
        if given is True:
            line.append(option)
            continue
        for value in [given] if isinstance(given, str | Path | int) else given:
            text = _text(value) if isinstance(value, str | Path) else str(value)
            line += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return shlex.join(line)


def spelled(path: Path) -> str:
    """Format a path so that it cannot be mistaken for a name, an option or a home folder: `caps` becomes `./caps`.

    Args:
        path: The path.

    Returns:
        The text.
    """
    text = str(path)
    return text if path.is_absolute() or text.startswith(".") else f"./{text}"


def _text(word: Word) -> str:
    return spelled(word) if isinstance(word, Path) else word
