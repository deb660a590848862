"""Text from somebody's file, made harmless for where it is shown: a terminal, a page, a table in Markdown or CSV."""

from __future__ import annotations

import html
import json
import re

_STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, what orders text from right to left, what has no width, and halves of surrogate pairs."""
_FORMULA = tuple("=+-@\t\r＝＋－＠")
_NUMBER = re.compile(r"-?[\d.,]+(e[-+]?\d+)?( ?%)?( \[[-+]?[\d.,]+, [-+]?[\d.,]+\])?")


def steers(text: str) -> bool:
    """Whether a text holds characters that steer a terminal or reorder what is read."""
    return _STEERING.search(text) is not None


def plain(text: str, keep: str = "") -> str:
    """A text without characters that steer: white space becomes a blank, anything else a question mark.

    Args:
        text: The text.
        keep: Characters to leave, such as line breaks.

    Returns:
        The text, as long as it was.
    """
    return _STEERING.sub(lambda found: _harmless(found[0], keep), text)


def escaped(document: str) -> str:
    """A JSON document with escapes for characters that steer: the same value, harmless for whoever reads the file."""
    return _STEERING.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], document)


def _harmless(sign: str, keep: str) -> str:
    return sign if sign in keep else " " if sign.isspace() else "?"


def in_csv(value: object) -> object:
    """A cell of a CSV file: text in one line that no spreadsheet computes; numbers as they are."""
    if not isinstance(value, str):
        return value
    line = " ".join(plain(value).split())
    return f"'{line}" if line.startswith(_FORMULA) and not _NUMBER.fullmatch(line) else line


def in_markdown(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    line = html.escape(" ".join(plain(text).split()))
    marked = "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~" else c for c in line)
    # or GitHub makes links of them
    return marked.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def on_page(value: object) -> object:
    """What a template shows, before it is escaped (Jinja's `finalize`); markup of our own stays."""
    return plain(value, keep="\n") if type(value) is str else value
