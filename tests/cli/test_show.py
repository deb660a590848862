"""`uadbench show` and `uadbench list models`: the card of a model, and what it says of what it cannot know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from uadbench import registry
from uadbench.cli.main import main
from uadbench.metrics.catalogue import METRICS
from uadbench.models.extras import EXTRAS

HERE = Path(__file__).parents[2]

NET = '''
from typing import Annotated, Literal
import torch
from pydantic import Field
from torch import nn
from uadbench.models.base import ReconstructionModel

class Net(ReconstructionModel):
    """Convolves, attends, and says so.

    More words.

    Args:
        width, depth: How wide and how deep
            it is.
        kind: Which of two.

    Raises:
        ValueError: Never.
    """
    reference = "Nobody 2020"
    recipes = {"quick": {"width": 3}}

    def __init__(self, grid, width: Annotated[int, Field(ge=1, le=9)] = 2, depth: int = 1,
                 kind: Literal["a", "b"] = "a"MORE):
        super().__init__(grid)
        self.convolution = nn.Conv3d(1, width, 3, padding=1, bias=False)
        self.fixed = nn.Parameter(torch.zeros(7), requires_grad=False)
        self.register_buffer("kept", torch.zeros(5))

    def reconstruct(self, batch):
        EARLY
        token = torch.zeros(1, 1, 10, 4)
        nn.functional.scaled_dot_product_attention(token, token, token)
        return self.convolution(batch.images).mean(1, keepdim=True)

    def losses(self, batch):
        yield "net", self.reconstruct(batch).sum()
'''


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def net(folder: Path, more: str = "", early: str = "pass") -> str:
    file = folder / "net.py"
    file.write_text(NET.replace("MORE", more).replace("EARLY", early))
    return f"{file}:Net"


def card(capsys, *arguments: str | Path) -> dict:
    code, out, err = call(capsys, "show", *arguments, "--protocol", "smoke", "--json")
    assert code == 0, err
    return json.loads(out)


def test_size_and_operations_of_a_known_network(tmp_path: Path, capsys) -> None:
    """Counted by hand: 3 filters of 27 weights at every voxel, two products of attention over 10 tokens of 4."""
    told = card(capsys, net(tmp_path))
    size = told["size"]
    assert (size["trainable"], size["frozen"], size["buffers"]) == (81, 7, 5)
    assert size["flops"] == {"convolution": 2 * 81 * 24 * 32 * 24, "bmm": 2 * 2 * 10 * 10 * 4}
    assert "mean" in size["not_counted"] and "relu" not in size["not_counted"]
    assert told["protocol"]["grid"] == "24 x 32 x 24 at 7 mm"


def test_words_and_options_come_from_the_docstring(tmp_path: Path, capsys) -> None:
    told = card(capsys, net(tmp_path))
    assert told["description"] == "Convolves, attends, and says so.\n\nMore words."
    assert (told["name"], told["reference"], told["learns"]) == ("Net", "Nobody 2020", "by gradients")
    assert told["gives"] == "reconstruction and anomaly map (reconstruction - input)"
    found = {option["name"]: (option["type"], option["default"], option["meaning"]) for option in told["options"]}
    assert found == {
        "width": ("int >= 1, <= 9", 2, "How wide and how deep it is."),
        "depth": ("int", 1, "How wide and how deep it is."),
        "kind": ("'a' | 'b'", "a", "Which of two."),
    }
    assert told["recipes"]["smoke"] == told["recipes"]["quick"] == {"width": 3} and told["recipes"]["paper"] == {}
    printed = call(capsys, "show", net(tmp_path), "--protocol", "smoke")[1]
    for word in (
        "--set Net.width=2",
        "smoke, quick",
        "trainable",
        "GFLOPs",
        "a multiply-add counts as two",
        "element-wise",
    ):
        assert word in printed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": ", *, given: int"}, "the model cannot be built: TypeError"),
        ({"early": "raise ValueError('not fitted')"}, "the untrained model fails (ValueError: not fitted)"),
    ],
)
def test_what_cannot_be_measured_is_said(change: dict[str, str], words: str, tmp_path: Path, capsys) -> None:
    code, out, err = call(capsys, "show", net(tmp_path, **change), "--protocol", "smoke")
    assert (code, err) == (0, "")
    assert words in " ".join(out.split()) and "--set Net.depth=1" in out and "GFLOPs" not in out


def test_a_missing_extra_leaves_the_card_and_says_how_to_install(monkeypatch, capsys) -> None:
    monkeypatch.setitem(EXTRAS, "networks", ("torch", "no_such_package"))
    told = card(capsys, "dae3d")
    assert told["size"] is None and told["options"] and told["extra"]["missing"] == ["no_such_package"]
    assert "pip install 'uadbench[networks]'" in told["fault"]
    assert "no_such_package is missing: pip install 'uadbench[networks]'" in call(capsys, "show", "dae3d")[1]
    rows = {row["name"]: row for row in json.loads(call(capsys, "list", "models", "--json")[1])}
    assert (rows["dae3d"]["extra"], rows["dae3d"]["missing"]) == ("networks", "no_such_package")
    assert (rows["vae3d"]["extra"], rows["vae3d"]["missing"]) == ("", "")


def test_extras_are_listed_without_importing_torch() -> None:
    """What is read from the source is what the classes have, inherited or their own."""
    code = "import sys; from uadbench.cli.main import main\n"
    code += "try: main(['list', 'models', '--json'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'monai'} & set(sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    read = {row["name"]: row["extra"] for row in json.loads(printed)}
    assert read == {name: registry.models.get(name).extra for name in read} and "networks" in read.values()


def test_scores_are_those_of_the_committed_board(tmp_path: Path, monkeypatch, capsys) -> None:
    root = HERE / "leaderboard"
    boards = json.loads((root / "leaderboard.json").read_text(encoding="utf-8"))["boards"]
    rows = [(board["title"], row) for board in boards for row in board["rows"] if row["model"] == "zscore"]
    monkeypatch.chdir(HERE)
    told = card(capsys, "zscore")["ranking"]
    assert [(row["board"], row["rank"]) for row in told] == [(title, row["rank"]) for title, row in rows] and rows
    for row, (_, committed) in zip(told, rows, strict=True):
        assert row["ap"] == pytest.approx(committed["ap"], rel=1e-5)  # that of another processor
    monkeypatch.chdir(tmp_path)
    assert card(capsys, "zscore", "--leaderboard", root)["ranking"] == told
    assert f"ranking AP {told[0]['ap'][0]:.3f}" in call(capsys, "show", "zscore", "--leaderboard", root)[1]
    assert card(capsys, "zscore")["ranking"] == told, "the leaderboard that comes with uadbench"
    monkeypatch.setattr("uadbench.leaderboard.ranking.shipped", lambda name: None)
    assert card(capsys, "zscore")["ranking"] is None and "--leaderboard" in call(capsys, "show", "zscore")[1]
    assert "not on the board" in call(capsys, "show", net(tmp_path), "--leaderboard", root)[1]


def test_columns_are_explained_within_80_columns(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(capsys, "show", "columns")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert code == 0 and max(cell_len(line.rstrip()) for line in lines) <= 80
    first = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert {metric.name for metric in METRICS} <= first
    told = " ".join(" ".join(lines).split())
    for metric in METRICS:
        assert metric.label in told and metric.description in told


def test_columns_as_json(capsys) -> None:
    code, out, _ = call(capsys, "show", "columns", "--json")
    assert code == 0
    found = {column["name"]: column for column in json.loads(out)}
    assert list(found) == [metric.name for metric in METRICS]
    assert (found["damage"]["better"], found["damage"]["low"], found["damage"]["high"]) == ("lower", 0, None)
    assert list(found["ap.<map>"]["placeholders"]["map"]) == ["standard", "native"]


def test_bad_input_is_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "plain.py").write_text("class Plain: pass\n")
    (tmp_path / "leaderboard.json").write_text('{"boards": [{"rows": [{}]}]}')
    for arguments, complaint in (
        (["zscroe"], "did you mean 'zscore'"),
        ([f"{tmp_path}/plain.py:Plain"], "class Plain is not a uadbench.models.base.Model"),
        (["zscore", "--protocol", "quik"], "did you mean 'quick'?"),
        (["zscore", "--leaderboard", tmp_path / "none"], "no such file"),
        (["zscore", "--leaderboard", tmp_path], "cannot be read"),
    ):
        code, out, err = call(capsys, "show", *arguments)
        assert (code, out) == (2, "") and complaint in err and len(err.strip().splitlines()) == 1
