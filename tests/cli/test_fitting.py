"""Tables at 80, 100 and 140 columns: every number and every name is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.cli.test_commands import call
from uadbench.cli.fitting import LEAST_WANTED, Column, Fitted

WIDTHS = (80, 100, 140)
WIDE = 2000
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w.])")


def shown(table: Fitted, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def at(width: int, monkeypatch: pytest.MonkeyPatch, capsys, *arguments: str) -> str:
    """What a command prints into a terminal of this width, without colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = call(capsys, *arguments)
    assert code in (0, 1), err
    return re.sub(r"\x1b\[[0-9;]*m", "", out)


@pytest.fixture(scope="module")
def output(trained, fold_data) -> Path:
    """Run folders of three models."""
    from uadbench.runs.keys import Run
    from uadbench.runs.run import complete
    from uadbench.runtime.progress import Silent

    for name in ("mean", "zscore"):
        complete(Run(name, fold_data, 0), trained[1], torch.device("cpu"), Silent())
    return trained[1]


def commands(output: Path) -> dict[str, list[str]]:
    folders = [str(folder) for folder in sorted(output.glob("phantom/smoke/*/fold0-*"))]
    run = ["run", "--protocol", "smoke", "--output", str(output), "--tracking-uri", "none"]
    three = ["--model", "mean", "--model", "vae3d", "--model", "zscore"]
    vae = next(folder for folder in folders if "/vae3d/" in folder)
    return {
        "one result": [*run, "--model", "vae3d", "--details"],
        "three results": [*run, *three, "--details"],
        "plan": [*run, *three, "--seed", "0,1", "--dry-run"],
        "compare": ["compare", *folders],
        "check": ["check", vae, "--against", vae],
        "models": ["list", "models"],
        "protocols": ["list", "protocols"],
        "cohorts": ["list", "cohorts"],
        "card": ["show", "vae3d"],
    }


NAMES = ("one result", "three results", "plan", "compare", "check", "models", "protocols", "cohorts", "card")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_whole(name: str, output: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    arguments = commands(output)[name]
    wide = at(WIDE, monkeypatch, capsys, *arguments)
    whole = set(NUMBER.findall(wide))
    for width in WIDTHS:
        narrow = at(width, monkeypatch, capsys, *arguments)
        assert "…" not in narrow and "..." not in narrow
        found = set(NUMBER.findall(narrow)) - {str(width)}
        assert found <= whole, (width, found - whole)
        if "left out at" not in narrow:
            assert found >= whole - {str(width)}, (width, whole - found)


def test_a_single_result_is_complete_at_any_width(output: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for width in WIDTHS:
        narrow = at(width, monkeypatch, capsys, *commands(output)["one result"])
        assert "left out" not in narrow and "vae3d" in narrow
        for heading in ("native", "damage", "monotonicity", "MMSE", "chance"):
            assert heading in narrow


CELLS = st.text("abc123._-", min_size=1, max_size=30)


@given(
    headings=st.lists(st.sampled_from([*(p for p in LEAST_WANTED if "*" not in p), "AP", "p"]), max_size=12),
    rows=st.integers(1, 5),
    width=st.integers(60, 140),
    data=st.data(),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_no_cell_is_cut_and_what_is_left_out_is_named(headings, rows: int, width: int, data) -> None:
    columns = list(dict.fromkeys(headings))
    table = Fitted(Column("model", "name"), *columns)
    filled = [[data.draw(CELLS) for _ in range(len(columns) + 1)] for _ in range(rows)]
    for row in filled:
        table.add_row(*row)
    lines = shown(table, width)
    assert all(len(line.rstrip()) <= width for line in lines)
    text = "\n".join(lines)
    dropped = " ".join(text.split()).partition("left out at")[2]
    for place, heading in enumerate(["model", *columns]):
        for row in filled:
            assert row[place] in text or heading in dropped


def test_columns_are_left_out_by_priority() -> None:
    table = Fitted(Column("model", "name"), "ranking AP", "native", "folder", "verdict")
    for number in range(9):
        table.add_row(f"model_{number}", "0.5000", "0.4000", "runs/" + "x" * 60, "x" * 40)
    (line,) = [line for line in shown(table, 80) if "left out" in line]
    assert "folder" in line and "native" not in line


def test_a_name_longer_than_the_terminal_is_wrapped_and_not_cut() -> None:
    table = Fitted(Column("model", "name"), "AP")
    for number in range(30):
        table.add_row("Very" * 40 + str(number), "0.123")
    text = "".join(line.strip() for line in shown(table, 80))
    assert text.replace(" ", "").replace("model", "").count("Very") == 40 * 30 and text.count("0.123") == 30
