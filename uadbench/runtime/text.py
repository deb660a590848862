"""Sanitisation of untrusted text for display in a terminal, on a page, or in a Markdown or CSV table."""

from __future__ import annotations

import html
import json
import re

_STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, characters that change the text direction or have no width, and halves of surrogate pairs."""
_FORMULA = tuple("=+-@\t\r＝＋－＠")
_NUMBER = re.compile(r"-?[\d.,]+(e[-+]?\d+)?( ?%)?( \[[-+]?[\d.,]+, [-+]?[\d.,]+\])?")


def steers(text: str) -> bool:
    """Whether a text contains characters that control a terminal or change the order of the displayed text.

    Args:
        text: The text.

    Returns:
        True if it contains such a character.
    """
    return _STEERING.search(text) is not None


def plain(text: str, keep: str = "") -> str:
    """Replace control characters: white space by a space, others by a question mark.

    Args:
        text: The text.
        keep: Characters to keep, such as line breaks.

    Returns:
        The text, with the same length.
    """
    return _STEERING.sub(lambda match: _harmless(match[0], keep), text)


def escaped(document: str) -> str:
    """A JSON document with escapes for characters that steer: the same value, harmless for whoever reads the file."""
    return _STEERING.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], document)


def _harmless(sign: str, keep: str) -> str:
    return sign if sign in keep else " " if sign.isspace() else "?"


def in_csv(value: object) -> object:
    """Sanitise a cell of a CSV file, so that spreadsheets do not evaluate it as a formula.

    Args:
        value: The value.

    Returns:
        Text as one line; other values unchanged.
    """
    if not isinstance(value, str):
        return value
    line = " ".join(plain(value).split())
    return f"'{line}" if line.startswith(_FORMULA) and not _NUMBER.fullmatch(line) else line


def in_markdown(text: str) -> str:
    """Escape text for Markdown, so that it is displayed literally.

    Args:
        text: The text.

    Returns:
        The escaped text, in one line.
    """
    line = html.escape(" ".join(plain(text).split()))
    marked = "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~" else c for c in line)
    # otherwise GitHub turns them into links
    return marked.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def on_page(value: object) -> object:
    """Sanitise a value in a template before it is escaped (Jinja's `finalize`).

    Args:
        value: The value.

    Returns:
        Plain text without control characters other than line breaks; markup and other values unchanged.
    """
    return plain(value, keep="\n") if type(value) is str else value
