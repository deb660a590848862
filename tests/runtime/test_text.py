"""Text of strangers: what is left of it on a terminal, a page, in CSV and in Markdown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.markup import escape
from rich.table import Table

from uadbench.runtime.files import write_json
from uadbench.runtime.terminal import Terminal
from uadbench.runtime.text import in_csv, in_markdown, plain, steers

STEERING = [
    "\x1b[2J",
    "\x9b1m",
    "\x07",
    "\x00",
    "a\u202eb",
    "a\u2066b",
    "\u200f",
    "\u200b",
    "\ufeff",
    "\ud800",
    "\u2028",
]


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_what_steers_is_replaced(text: str) -> None:
    assert steers(text) and not steers(plain(text))
    assert len(plain(text)) == len(text)


@pytest.mark.parametrize("text", ["vae3d", "Zürich, x̂' − 20 %", "小野\u00a0", "💀", ""], ids=ascii)
def test_words_are_left(text: str) -> None:
    assert not steers(text) and plain(text) == text


def test_white_space_becomes_a_blank() -> None:
    assert plain("a\tb\r\nc") == "a b  c"
    assert plain("a\tb\nc", keep="\n") == "a b\nc"


@pytest.mark.parametrize(
    "text", ["=1+1", '=HYPERLINK("x")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1", "＝1"]
)
def test_a_cell_is_no_formula(text: str) -> None:
    assert str(in_csv(text)).startswith("'")


@pytest.mark.parametrize("value", ["-0.12", "-0.120 [-0.300, 0.060]", "-3 %", "ad", "x - y", -0.5, None, 3])
def test_numbers_and_words_stay_in_a_cell(value: object) -> None:
    assert in_csv(value) == value


def test_a_line_in_markdown_stays_one_and_links_nowhere() -> None:
    shown = in_markdown("a\n| <b>\x1b[1m [x](http://y.z) @all www.q")
    assert not any(part in shown for part in ("\n", "\x1b", "<b>", "://", "[x](", " | ", "@", "www."))


@pytest.mark.parametrize("coloured", [True, False])
def test_a_terminal_is_steered_by_its_own_colours_alone(coloured: bool) -> None:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=coloured, color_system="standard" if coloured else None, width=60)
    table = Table("model")
    table.add_row(escape("a\x1b[2J\u202eb"), style="red")
    console.print(table)
    console.print("c\x1b]0;x\x07d", markup=False, highlight=False)
    shown = file.getvalue()
    assert "a?[2J" in shown and "c?]0;x" in shown
    assert ("\x1b[31m" in shown) == coloured
    assert not any(part in shown for part in ("\x1b[2J", "\x1b]", "\u202e", "\x07"))


def test_a_json_file_holds_no_character_that_steers(tmp_path: Path) -> None:
    """Whoever reads a submitted result sees what is in it; the value is the same."""
    value = {"option": "a\u202eb\u200b\x1b[31m\x7f\x9b\U000e0041", "name": "d'été x̂\n"}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert not steers(text.replace("\n", "")) and "été" in text and "\\u202e" in text
