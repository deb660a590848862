"""A run that takes more processor time than its protocol grants is marked wherever it is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.leaderboard.builder import made_up
from uadbench.cli.main import main
from uadbench.cli.tables import models_table
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import boards
from uadbench.leaderboard.entries import read_entries
from uadbench.protocols.schema import load_protocol


def test_a_real_run_tells_its_cost_and_its_budget(mean) -> None:
    cost = mean.result.cost
    assert 0 < cost.cpu_minutes < 10 and cost.budget_minutes == load_protocol("smoke").runs.cpu_minutes


@pytest.mark.parametrize(("minutes", "over"), [(2.01, True), (2.0, False), (None, False)])
def test_over_budget_is_shown(root, mean, minutes: float | None, over: bool) -> None:
    entry = made_up(root, mean, "slow", cost__cpu_minutes=minutes, cost__budget_minutes=2.0, sound=False)
    assert entry.result.cost.over_budget is over

    pages = {str(name): text for name, text in render.files(boards(list(read_entries(root)), root)).items()}
    row = next(line for line in pages["README.md"].splitlines() if "**slow**" in line)
    assert ("over budget" in row) is over
    card = next(text for name, text in pages.items() if name.endswith("slow.html"))
    assert ('<span class="tag">over budget</span>' in card) is over

    shown = io.StringIO()
    Console(width=200, file=shown).print(models_table([entry.result]))
    assert ("budget of processor minutes per run: slow (2.01 of 2)" in shown.getvalue()) is over


def test_a_run_says_so(tmp_path, capsys) -> None:
    budget = ["--set", "protocol.runs.cpu_minutes=0.0001"]
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "run",
                "--model",
                "mean",
                "--protocol",
                "smoke",
                "--output",
                str(tmp_path),
                "--tracking-uri",
                "none",
                *budget,
            ]
        )
    said = capsys.readouterr()
    assert stopped.value.code == 0 and "Unranked" not in said.out
    assert "more than the 0.0001 allowed by protocol smoke" in said.err + said.out
