"""The documentation: it builds without a warning, its links resolve, and its commands and paths exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

from uadbench.cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in DOCS.rglob("*.md") if not {"_build", "_generated"} & set(page.parts)),
]
LONGEST_README = 180

IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]


def code_lines(page: Path) -> Iterator[str]:
    """The lines of a page's shell blocks; continued lines are joined."""
    for block in re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        yield from block.replace("\\\n", " ").splitlines()


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every uadbench command in a page's shell blocks, from `uadbench` on."""
    for line in code_lines(page):
        words = shlex.split(line, comments=True)
        while "uadbench" in words:
            words = words[words.index("uadbench") :]
            end = next((number for number, word in enumerate(words) if word in {"&&", "|", ";", ">"}), len(words))
            yield words[:end]
            words = words[end:]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """The words of commands that a page names in its text, such as `uadbench show NAME`."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for found in re.findall(r"`(uadbench [^`]+)`", text):
        yield shlex.split(found)


def parse(words: list[str], strict: bool) -> None:
    """Parse a command line without running it; not `strict`, arguments and values may be missing.

    Raises:
        Exception: For a subcommand or an option that does not exist, or a value that does not fit.
    """
    command, name = typer.main.get_command(app), "uadbench"
    rest = words[1:]
    while children := getattr(command, "commands", {}):
        while rest and rest[0] == "--debug":
            rest = rest[1:]
        assert rest, f"{name}: which subcommand?"
        assert rest[0] in children, f"{name} has no subcommand '{rest[0]}'"
        name, command, rest = f"{name} {rest[0]}", children[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for word in rest:
        if word.startswith("-") and word not in {"-", "..."}:
            assert word.partition("=")[0] in {*known, "--help", "-h"}, f"{name} has no option '{word}'"
    if strict:
        command.make_context(name, list(rest))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_in_code_blocks_parse(page: Path) -> None:
    for words in commands(page):
        try:
            parse(words, strict=True)
        except Exception as error:
            pytest.fail(f"{shlex.join(words)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_in_text_exist(page: Path) -> None:
    for words in inline_commands(page):
        if words[1] not in {"COMMAND", "--debug"}:
            parse(words, strict=False)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("uadbench runs --model vae3d", "no subcommand 'runs'"),
        ("uadbench run --modle vae3d", "no option '--modle'"),
        ("uadbench cohort", "which subcommand"),
        ("uadbench run --model", "--model"),
    ],
)
def test_a_wrong_command_is_found(line: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        parse(shlex.split(line), strict=True)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    """Files of the repository in backticks, and scripts in shell blocks."""
    text = page.read_text(encoding="utf-8")
    folders = r"(?:uadbench|tests|benchmarks|docs|leaderboard|\.ci|\.github)"
    named = re.findall(rf"`({folders}/[\w./-]*)`", text)
    named += [word for line in code_lines(page) for word in re.findall(r"\b((?:tests|benchmarks)/[\w/]+\.py)\b", line)]
    made = {"leaderboard/reproduced.json", "docs/_build"}
    assert [path for path in named if path not in made and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_between_pages_resolve(page: Path) -> None:
    """As GitHub shows them: files and headings; generated headings are left to the build."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        file = page.parent / unquote(parts.path) if parts.path else page
        assert file.exists(), target
        if parts.fragment and file.suffix == ".md":
            assert parts.fragment in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README
    first = next(number for number, line in enumerate(lines) if "uadbench run" in line)
    assert first < 25, "the first command is not on the first screen"


def test_every_page_is_in_a_table_of_contents() -> None:
    """Sphinx warns of it, too, but only where it is installed."""
    listed = {DOCS / "index.md"}
    for page in PAGES[2:]:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {page.parent / f"{name}.md" for name in names}
    assert listed == set(PAGES[2:])


class Page(HTMLParser):
    """The internal links of a built page, and the ids that links can point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self.links |= {values[name] for name in ("href", "src") if name in values}


@pytest.mark.slow
def test_the_documentation_builds_and_its_links_resolve(tmp_path: Path) -> None:
    for package in ("sphinx", "myst_parser", "pydata_sphinx_theme"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; the extra [docs] has it")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [file for file in (tmp_path / "html").rglob("*.html") if "_static" not in file.parts]  # those of the theme
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in files}
    assert len(pages) > len(PAGES)
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            found = target.exists() and (not anchor or target not in pages or anchor in pages[target].ids)
            if not found:
                broken.append(f"{file.relative_to(tmp_path / 'html')}: {link}")
    assert broken == []
    built = (tmp_path / "html" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "--tracking-uri" in built and "uadbench leaderboard verify" in built
