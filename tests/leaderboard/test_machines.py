"""Threads and processor of a run, compared with the board's runs of the same model on the same test sets."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.cells import cell_len

from tests.cli.test_commands import call
from uadbench.leaderboard.machines import machine_difference, machine_notes
from uadbench.leaderboard.ranking import BOARDS, Ranking
from uadbench.results.schema import Result
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.machine import processor
from uadbench.runtime.progress import Silent

OTHER = 77
"""A number of threads that no test uses."""


def ranking(**machine: Any) -> Ranking:
    values = {each.name: None for each in fields(Ranking)} | {"threads": [], "processors": []}
    return Ranking(**{**values, **machine})


@pytest.mark.parametrize(
    ("board", "differs"),
    [
        ({"threads": [2], "processors": ["A"]}, ()),
        ({"threads": [1, 2], "processors": ["B", "A"]}, ()),
        ({"threads": [1, 4], "processors": ["A"]}, ("2 threads", "1 or 4")),
        ({"threads": [2], "processors": ["B"]}, ("A here", "B on")),
        ({"threads": [1], "processors": ["B"]}, ("2 threads", "1 on", "A here", "B on")),
        ({}, ()),
    ],
)
def test_only_what_is_known_to_differ_is_named(board: dict[str, Any], differs: tuple[str, ...]) -> None:
    text = machine_difference(2, "A", ranking(**board))
    assert bool(text) == bool(differs) and all(words in text for words in differs)
    assert "A" not in machine_difference(2, None, ranking(**board)).replace("AP", "")


def write_board(folder: Path, result: Result, *machines: dict[str, Any], **changes: Any) -> Path:
    """A leaderboard with rows of the result's model, on its own test sets unless `changes` say otherwise."""
    values = {"rank": [1, 1], "seeds": 1, "folds": 1, "reproduced": False}
    values |= {part: [0.5, 0.4, 0.6] for part in ("ap", "dementias", "unseen", "native")}
    rows = [{**values, "name": f"row {n}", "model": result.model.name, **m} for n, m in enumerate(machines)]
    about = {"title": "t", "protocol": "p", "protocolHash": result.protocol.hash, "cohort": result.cohort.title}
    about |= {"testset": result.testset.recipe, "ranked": True, "apart": ""}
    (folder / BOARDS).write_text(json.dumps({"boards": [{**about, **changes, "rows": rows}]}))
    return folder


def test_a_result_is_compared_with_its_own_board_only(trained, tmp_path: Path) -> None:
    result = trained[0].result
    other, same = {"threads": [OTHER]}, {"threads": [result.provenance.threads]}
    (note,) = machine_notes([result, result], write_board(tmp_path, result, other))
    assert note.startswith("vae3d: ") and str(OTHER) in note and note.count("vae3d") == 1
    assert machine_notes([result], write_board(tmp_path, result, same)) == []
    assert machine_notes([result], write_board(tmp_path, result, other, same)) == [], "one of its rows is the same"
    assert machine_notes([result], write_board(tmp_path, result, {})) == [], "a board of an earlier version"
    for change in ({"protocolHash": "0"}, {"cohort": "another"}, {"testset": "0"}):
        assert machine_notes([result], write_board(tmp_path, result, other, **change)) == []
    assert machine_notes([result], None) == []


def test_a_damaged_board_does_not_spoil_a_finished_run(trained, tmp_path: Path) -> None:
    (tmp_path / BOARDS).write_text("{")
    assert machine_notes([trained[0].result], tmp_path) == []


def test_a_result_stores_threads_and_processor(trained) -> None:
    made = trained[0].result.provenance
    assert (made.threads, made.processor) == (torch.get_num_threads(), processor())


def test_run_compare_and_show_say_it(
    trained, fold_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    outcome, output = trained
    other = complete(Run("zscore", fold_data, 0), tmp_path / "runs", torch.device("cpu"), Silent())
    board = write_board(tmp_path, outcome.result, {"threads": [OTHER]})
    monkeypatch.setattr("uadbench.leaderboard.ranking.shipped_board", lambda: board)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    run = ("run", "--model", "vae3d", "--protocol", "smoke", "--output", str(output), "--tracking-uri", "none")
    compare = ("compare", str(outcome.folder), str(other.folder))
    for arguments in (run, compare, ("show", "vae3d", "--protocol", "smoke", "--leaderboard", str(board))):
        code, out, err = call(capsys, *arguments)
        assert code == 0, err
        lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
        assert f"{OTHER} on the board" in " ".join(" ".join(lines).split())
        assert max(cell_len(line.rstrip()) for line in lines if " here, " in line) <= 80
