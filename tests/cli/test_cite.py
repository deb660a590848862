"""`uadbench cite`: every paper that a model names is complete in CITATION.cff, and printed in three formats."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from rich.cells import cell_len

from tests.cli.test_commands import call
from tests.cli.test_show import net
from uadbench import registry
from uadbench.report.citations import GROUPS

ROOT = Path(__file__).parents[2]
TYPES = {"article", "book", "conference-paper", "software"}


@pytest.fixture(scope="module")
def content() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_file_follows_the_citation_file_format(content: dict) -> None:
    """The fields that version 1.2.0 requires, and the types of those in use; the whole schema is in cffconvert."""
    assert content["cff-version"] == "1.2.0" and content["message"] and content["type"] == "software"
    assert content["version"] == version("uadbench") and content["license"] == "Apache-2.0"
    for each in (content, *content["references"]):
        assert each["title"] and each["authors"] and each["type"] in TYPES
        for author in each["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
        assert not str(each.get("doi", "10.")).startswith("http") and str(each.get("doi", "10.")).startswith("10.")
        assert str(each.get("url", "https://")).startswith("https://")
        assert isinstance(each.get("year", 0), int)
    for each in content["references"]:
        assert each["notes"] in GROUPS and ("doi" in each or "url" in each or "journal" in each)


def test_uadbench_names_no_people(content: dict) -> None:
    assert content["authors"] == [{"name": "The uadbench authors"}]


def test_every_paper_of_a_built_in_model_is_in_the_file(capsys) -> None:
    names = [origin.name for origin in registry.models.origins().values() if origin.source == "built in"]
    arguments = [argument for name in names for argument in ("--model", name)]
    found = json.loads(call(capsys, "cite", *arguments, "--json")[1])
    assert [each["group"] for each in found] == sorted((each["group"] for each in found), key=list(GROUPS).index)
    assert all("(" in each["text"] for each in found if each["models"]), "a paper without authors and year"
    for name in names:
        papers = [part.strip() for part in registry.models.get(name).reference.split(";") if part.strip()]
        cited = [each for each in found if name in each["models"]]
        assert len(cited) == len(papers)
        for paper in papers:
            surname, year = re.sub(r"( et al\.| and .*?)? \d{4}.*", "", paper), re.search(r"\d{4}", paper)[0]
            assert any(surname in each["text"] and f"({year})" in each["text"] for each in cited), paper
    keys = [each["key"] for each in found]
    assert len(set(keys)) == len(keys)


def test_every_model_paper_in_the_file_belongs_to_a_model(content: dict, capsys) -> None:
    arguments = [argument for name in registry.models.origins() for argument in ("--model", name)]
    found = {each["title"] for each in json.loads(call(capsys, "cite", *arguments, "--json")[1])}
    assert {each["title"] for each in content["references"]} <= found


def test_text_fits_into_80_columns(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(capsys, "cite", "--model", "vae3d", "--model", "mean")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert code == 0 and max(map(cell_len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in ("Hassanaly", "Kingma", "[vae3d]", "labelling atlas 3", "PyTorch", "no paper: mean", *GROUPS.values()):
        assert words in text


def entries(text: str) -> dict[str, dict[str, str]]:
    """BibTeX entries by key, read by their own grammar: braces that balance."""
    found = {}
    for entry in text.strip().split("\n\n"):
        head, *lines, end = entry.splitlines()
        assert end == "}" and entry.count("{") - entry.count("\\{") == entry.count("}") - entry.count("\\}")
        fields = [re.fullmatch(r"  (\w+) = \{(.*)\},", line) for line in lines]
        found[re.fullmatch(r"@\w+\{(\w+),", head)[1]] = {field[1]: field[2] for field in fields}
    return found


def test_bibtex(capsys) -> None:
    found = entries(call(capsys, "cite", "--model", "vae3d", "--bibtex")[1])
    assert found["kingma2014"]["author"] == "Kingma, Diederik P. and Welling, Max"
    assert found["rolls2020"]["doi"] == "10.1016/j.neuroimage.2019.116189"
    assert found["harris2020"]["author"].endswith(" and others") and found["harris2020"]["pages"] == "357--362"
    assert found["uadbench"]["version"] == version("uadbench")


def test_a_paper_that_is_not_in_the_file_is_cited_as_it_is_written(tmp_path: Path, capsys) -> None:
    (found,) = [each for each in json.loads(call(capsys, "cite", "-m", net(tmp_path), "--json")[1]) if each["models"]]
    assert (found["title"], found["models"], found["group"]) == ("Nobody 2020", ["Net"], "model")
    assert "Nobody 2020" in call(capsys, "cite", "-m", net(tmp_path), "--bibtex")[1]


@pytest.mark.parametrize(
    ("arguments", "named"), [(["--model", "vae3"], "did you mean 'vae3d'"), (["--bibtex", "--json"], "--bibtex")]
)
def test_wrong_use_is_one_line(arguments: list[str], named: str, capsys) -> None:
    code, out, err = call(capsys, "cite", *arguments)
    assert (code, out) == (2, "") and named in err and len(err.splitlines()) == 1
