"""`uadbench list models` and `list_models()`: families, scores of the shipped board, and a narrow terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from rich.cells import cell_len

import uadbench as ub
from tests.cli.test_commands import call
from uadbench import registry
from uadbench.api.listing import model_rows
from uadbench.leaderboard.ranking import BOARDS, BoardScore, overview, shipped_board
from uadbench.models.families import FAMILIES, OTHER, family_order

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_models_of_other_tests() -> Iterator[None]:
    loaded, known = registry.models._loaded, registry.models.origins()
    others = {name: loaded.pop(name) for name in list(loaded) if name not in known}
    yield
    loaded.update(others)


def test_every_built_in_model_states_a_family() -> None:
    origins = registry.models.origins().values()
    assert {origin.family for origin in origins if origin.source == "built in"} == set(FAMILIES)
    for origin in origins:
        assert origin.family == registry.models.get(origin.name).family


def test_json_and_data_frame_have_the_same_rows(capsys) -> None:
    rows = json.loads(call(capsys, "list", "models", "--json")[1])
    assert rows == model_rows()
    frame = ub.list_models().reset_index()
    assert list(frame.columns) == list(rows[0]) and list(frame["name"]) == [row["name"] for row in rows]
    families = [family for family, _ in groupby(row["family"] for row in rows)]
    assert families == sorted(set(families), key=family_order)


def test_scores_are_those_of_one_shipped_board() -> None:
    root = shipped_board()
    assert root == ROOT / "leaderboard"
    boards = json.loads((root / BOARDS).read_text(encoding="utf-8"))["boards"]
    rows = [row for row in model_rows() if row["board"]]
    (title,) = {row["board"] for row in rows}
    (board,) = [board for board in boards if board["title"] == title]
    committed = {row["model"]: row["ap"] for row in reversed(board["rows"])}
    assert rows and board["ranked"] and len(committed) == len(board["rows"])
    for row in rows:
        assert [row["ranking_ap"], row["low"], row["high"]] == committed[row["name"]]
        assert (row["protocol"], row["cohort"]) == (board["protocol"], board["cohort"])


def test_all_scores_fit_into_80_columns(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(capsys, "list", "models")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert code == 0 and max(cell_len(line.rstrip()) for line in lines) <= 80
    assert [line.strip() for line in lines if line.strip() in {*FAMILIES, OTHER}] == list(FAMILIES)
    assert "left out" not in out
    listed = {line.split()[0]: line for line in lines if line}
    for row in model_rows():
        assert row["ranking_ap"] is None or f"{row['low']:.3f}-{row['high']:.3f}" in listed[row["name"]]
        assert row["board"] in lines[-1] and row["protocol"] in lines[-1]


def test_headings_stand_above_the_same_models_in_a_very_narrow_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "44")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", call(capsys, "list", "models")[1]).splitlines()
    words = [line.removeprefix("model").strip() for line in lines if line.startswith("model ") or line in FAMILIES]
    expected = []
    for family, rows in groupby(model_rows(), key=lambda row: row["family"]):
        expected += [family, *(row["name"] for row in rows)]
    assert words == expected and max(map(cell_len, lines)) <= 44


def test_models_of_a_session_have_their_family_or_are_other(monkeypatch, capsys) -> None:
    class Plain(ub.ReconstructionModel):
        """Says nothing."""

    class Kind(ub.ReconstructionModel):
        """States a family of its own."""

        family = "transformer"

    for name, model in (("plain", Plain), ("kind", Kind)):
        monkeypatch.setitem(registry.models._loaded, name, model)
    rows = {row["name"]: row for row in model_rows()}
    assert (rows["plain"]["family"], rows["plain"]["source"]) == (OTHER, "this session")
    assert (rows["kind"]["family"], rows["kind"]["summary"]) == ("transformer", "States a family of its own.")
    assert list(rows)[-2:] == ["kind", "plain"]
    out = call(capsys, "list", "models")[1]
    assert "transformer" in out and "this session" in out


def row(model: str, ap: float, name: str = "") -> dict:
    return {"model": model, "name": name or model, "ap": [ap, ap - 0.1, ap + 0.1]}


def board(title: str, *rows: dict, ranked: bool = True, apart: str = "") -> dict:
    about = {"title": title, "protocol": title, "cohort": "phantom", "ranked": ranked, "apart": apart}
    return {**about, "rows": list(rows)}


def test_the_board_with_most_models_is_shown_and_the_best_row_of_each(tmp_path: Path) -> None:
    boards = [
        board("few", row("a", 0.9)),
        board("many", row("a", 0.3, "a x=1"), row("a", 0.4, "a x=2"), row("b", 0.2)),
        board("old", row("a", 0.9), row("b", 0.9), row("c", 0.9), apart="another version"),
        board("own", row("a", 0.9), row("b", 0.9), row("c", 0.9), ranked=False),
    ]
    (tmp_path / BOARDS).write_text(json.dumps({"boards": boards}))
    assert overview(tmp_path) == {
        "a": BoardScore(*boards[1]["rows"][1]["ap"], "many", "many", "phantom"),
        "b": BoardScore(*boards[1]["rows"][2]["ap"], "many", "many", "phantom"),
    }
    (tmp_path / BOARDS).write_text(json.dumps({"boards": []}))
    assert overview(tmp_path) == {}


def test_a_damaged_board_is_reported(tmp_path: Path) -> None:
    (tmp_path / BOARDS).write_text('{"boards": [{"rows": []}]}')
    with pytest.raises(ub.InputError, match="cannot be read"):
        overview(tmp_path)


def test_the_table_in_the_documentation_has_the_same_families() -> None:
    text = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    table = {
        family: set(re.findall(r"`(\w+)`", names))
        for family, names in re.findall(r"^\| (\S.*?) \| (`.*) \|$", text, re.M)
    }
    origins = [origin for origin in registry.models.origins().values() if origin.source == "built in"]
    assert table == {family: {o.name for o in origins if o.family == family} for family in FAMILIES}
