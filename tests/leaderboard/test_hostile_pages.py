"""Text that somebody has put into a result, to harm whoever opens a page: it reaches no page as anything but text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.leaderboard.builder import Entry, commit, edited, made_up
from uadbench.cli.main import main
from uadbench.errors import InputError
from uadbench.leaderboard import render
from uadbench.leaderboard.committing import generated
from uadbench.runtime.text import plain as readable

HARMLESS = "text"
NASTY = [
    *("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "<!--"),
    *("&lt;b&gt;", "| x | y |", "\\|", "`code`", "**bold** _x_ ~~x~~", "[x](javascript:a)"),
    *("![x](http://evil.example/x.png)", "<http://evil.example>", "[x]: http://evil.example", "# heading"),
    *('=HYPERLINK("http://evil.example")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "line\nbreak", "\n\n# heading"),
    *("\u2028\u2029", "\u202eleft", "{{ 7 * 7 }} {% raw %}", "x" * 120, '"'),
]  # fmt: skip


class Tags(HTMLParser):
    """Every tag with its attributes' names, every link, and the text of the data."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.links: list[str] = []
        self.comments: list[str] = []
        self.data: str | None = None
        self.text = ""
        self._inside: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag, tuple(sorted(name for name, _ in attributes))] += 1
        told = dict(attributes)
        self.links += [told[name] or "" for name in ("href", "src", "action", "srcset") if name in told]
        self._inside = told.get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self.tags[f"/{tag}", ()] += 1
        self._inside = None

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data = (self.data or "") + data
        else:
            self.text += data


class Nasty(NamedTuple):
    """A text, and what is made of results that hold it."""

    text: str
    pages: dict[str, str]
    head: str


def strict(text: str) -> Any:
    """JSON as a browser reads it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def infested(root: Path, mean: Entry, text: str) -> None:
    """Two rows of a model that hold the text wherever a text may be anything, and one that stands apart for it."""
    provenance = ("device", "platform", "python", "uadbench", "commit", "finished", "model_source")
    everywhere: dict[str, Any] = {f"provenance__{name}": text for name in provenance}
    everywhere |= {"provenance__packages": {text: text}, "model__reference": text}
    for value in (text, f"other {text}"):
        options = {"path": value, "nested": [text, {text: text}]}
        made_up(root, mean, "net", options=options, sound=False, **everywhere)
    sketch = {**mean.result.testset.sketch, text: 1.0}
    commit(root, edited(mean.result, seed=5, cohort__version=text, testset__sketch=sketch), mean.scores())


def pages_of(root: Path) -> dict[str, str]:
    """What `build` would write, by path."""
    return {file.relative_to(root).as_posix(): text for file, text in generated(root)[1].items()}


@pytest.fixture(scope="module")
def harmless(mean, tmp_path_factory) -> list[Tags]:
    """The same pages with a text that does no harm."""
    root = tmp_path_factory.mktemp("harmless")
    infested(root, mean, HARMLESS)
    return [Tags(text) for name, text in sorted(pages_of(root).items()) if name.endswith(".html")]


@pytest.fixture(scope="module", params=NASTY, ids=ascii)
def nasty(request, mean, tmp_path_factory) -> Nasty:
    """A text, and the pages and the head of the project's README that are made of results which hold it."""
    root = tmp_path_factory.mktemp("nasty")
    infested(root, mean, request.param)
    found, files = generated(root)
    pages = {file.relative_to(root).as_posix(): text for file, text in files.items()}
    return Nasty(request.param, pages, render.head(found))


@pytest.mark.slow
def test_a_page_has_no_tag_more(nasty, harmless) -> None:
    text = nasty.text
    pages = {name: page for name, page in nasty.pages.items() if name.endswith(".html")}
    found = {name: Tags(page) for name, page in pages.items()}
    assert len(found) == len(harmless) == 4  # two models on one board, one on another, and the index
    expected, tags = (sum((each.tags for each in every), Counter()) for every in (harmless, found.values()))
    assert tags == expected
    assert not any(each.comments for each in found.values())
    names = [row["name"] for board in strict(found["index.html"].data or "")["boards"] for row in board["rows"]]
    assert {f"net (path={value})" for value in (text, f"other {text}")} <= set(names)
    assert all(strict(page.data or "") for page in found.values())
    model = next(page for name, page in found.items() if "net" in name and "other" not in name)
    assert json.dumps(text) in model.text, "it is shown, as text"


def test_markdown_shows_it_as_text(nasty) -> None:
    text = nasty.text
    for page, columns in ((nasty.pages["README.md"], render.COLUMNS), (nasty.head, render.HEAD_COLUMNS)):
        lines = page.splitlines()
        assert len(lines) == len(page.split("\n")) - page.endswith("\n"), "a character that breaks a line"
        assert not re.search(r"<(?!!--)[a-zA-Z/!]", page), "a tag"
        for line in lines:
            if line.startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", line)) == len(columns) + 1
        for line in lines:
            assert not line.startswith("#") or re.fullmatch(
                "# Leaderboard|## smoke · phantom( · version 4, [0-9a-f]{8})?", line
            )
        links = re.findall(r"(?<!\\)\]\((.*?)\)", page)
        assert set(links) <= {"index.html", "leaderboard/README.md"}
        runs = [line.split(" | ")[1] for line in lines if line.startswith("|") and "net" in line]
        for run in runs:
            inner = run.removesuffix(" (baseline)").removeprefix("**").removesuffix("**")
            assert not re.search(r"(?<!\\)[`*_~\[\]]", inner), "markup that is not escaped"
            plain = unescape(re.sub(r"\\(.)", r"\1", inner))
            assert plain.startswith("net (path=") and " ".join(readable(text).split()) in " ".join(plain.split())


def test_tables_for_programs_hold_no_formula(nasty, request) -> None:
    pages = nasty.pages
    rows = list(csv.reader(io.StringIO(pages["leaderboard.csv"], newline="")))
    assert len({len(row) for row in rows}) == 1
    boards_of = strict(pages["leaderboard.json"])["boards"]
    assert len(rows) == 1 + sum(len(board["rows"]) for board in boards_of)
    for run in (run for row in rows[1:] for run in row):
        assert not run.startswith(("=", "+", "-", "@", "\t", "\r")) or re.fullmatch(r"-?[\d.e-]+", run), run


@pytest.mark.parametrize("text", ["https://evil.example/buy", "www.evil.example", "mail@evil.example"])
def test_markdown_makes_no_link_of_an_address(root, mean, text: str) -> None:
    infested(root, mean, text)
    assert text not in pages_of(root)["README.md"]


def test_costs_without_end_break_no_page(root, mean) -> None:
    entry = commit(root, mean.result, mean.scores())
    entry.file.write_text(re.sub(r'"train_seconds": [\d.]+', '"train_seconds": "inf"', entry.file.read_text()))
    try:
        pages = pages_of(root)
    except InputError:
        return
    strict(Tags(pages["index.html"]).data or "")


@pytest.mark.parametrize(("one", "other"), [("a/b", "a-b"), ("a b", "a_b"), ("<", ">")])
def test_every_row_has_a_page_of_its_own(root, mean, one: str, other: str) -> None:
    for value in (one, other):
        made_up(root, mean, "net", options={"path": value}, sound=False)
    pages = pages_of(root)
    assert sum(name.startswith("models/") for name in pages) == 4


def test_every_board_has_pages_of_its_own(root, mean) -> None:
    for version in ("8", "9"):
        commit(root, edited(mean.result, cohort__version=version, fit_key=version * 64), mean.scores())
    pages = pages_of(root)
    assert sum(name.startswith("models/") for name in pages) == 4
    assert len({board["id"] for board in strict(pages["leaderboard.json"])["boards"]}) == 3


def test_a_long_option_can_be_built(root, mean) -> None:
    for value in ("x" * 300, "y" * 300):
        made_up(root, mean, "net", options={"path": value}, sound=False)
    with pytest.raises(SystemExit) as stopped:
        main(["leaderboard", "build", "--root", str(root)])
    assert not stopped.value.code
    assert len(list((root / "models").rglob("*.html"))) == 4


def test_a_long_version_can_be_built(root, mean) -> None:
    early = {"provenance__finished": "2001-01-01T00:00:00+00:00"}
    commit(root, edited(mean.result, cohort__version="1" * 300, fit_key="1" * 64, **early), mean.scores())
    with pytest.raises(SystemExit) as stopped:
        main(["leaderboard", "build", "--root", str(root)])
    assert not stopped.value.code
