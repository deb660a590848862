"""`uadbench test-model`: what it says of sound and of broken models, and the exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from uadbench.cli.main import main

MINE = '''
import torch
from torch import nn
from uadbench.models.base import ReconstructionModel, adam


class Base(ReconstructionModel):
    """A gain."""

    def __init__(self, grid, rate: float = 0.1, wide: int = 1):
        super().__init__(grid)
        self.gain = nn.Parameter(torch.full((wide,), 0.9))
        self.rate = rate

    def reconstruct(self, batch):
        return self.gain.mean() * batch.images

    def losses(self, batch):
        yield "all", (self.reconstruct(batch) - batch.images.mean()).square().mean()

    def optimisers(self):
        return {"all": adam(self.parameters(), self.rate)}


class Sound(Base):
    """A gain, and nothing else."""


class Loud(Base):
    """It prints, which must not spoil the JSON."""

    def reconstruct(self, batch):
        print("LOUD")
        return super().reconstruct(batch)


class NarrowGrid(Base):
    """It was written for one grid."""

    def reconstruct(self, batch):
        return self.gain.mean() * nn.functional.linear(batch.images, torch.eye(16))


class NoModel:
    """It is none."""
'''
NARROW_LINE = 1 + MINE.split("\n").index(
    "        return self.gain.mean() * nn.functional.linear(batch.images, torch.eye(16))"
)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(["test-model", *arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return str(file)


@pytest.mark.slow
def test_a_sound_model(mine: str, fold_data, capsys) -> None:
    code, out, err = call(capsys, f"{mine}:Sound")
    assert code == 0, out + err
    assert "Sound: all 16 checks pass" in out and re.search("smoke run +ok ", out)
    assert "ranking AP under smoke: Sound 0." in out and ", zscore 0." in out
    assert "evaluating zscore: 56 of 56" in err


@pytest.mark.slow
def test_a_registered_model_with_an_option(fold_data, capsys) -> None:
    code, out, err = call(capsys, "vae3d", "--set", "latent=7", "--set", "vae3d.width=3", "--json")
    assert code == 0, out + err
    told = json.loads(out)
    assert told["good"] and len(told["checks"]) == 16 and all(check["ok"] for check in told["checks"])
    assert set(told["ranking_ap"]) == {"vae3d", "zscore"} and all(0.1 < ap < 1 for ap in told["ranking_ap"].values())


def test_options_reach_the_checks(mine: str, fold_data, capsys) -> None:
    """A rate so high that training diverges is found by them, and not only by the run."""
    code, out, _ = call(capsys, f"{mine}:Sound", "--set", "rate=1e30", "--json")
    told = {check["check"]: check["wrong"] for check in json.loads(out)["checks"]}
    assert code == 1
    assert "loss 'all' is" in told["output"] and "a lower learning rate may help" in told["smoke run"]


@pytest.mark.slow
def test_what_a_model_prints_does_not_spoil_the_json(mine: str, fold_data, capsys) -> None:
    code, out, _ = call(capsys, f"{mine}:Loud", "--json")
    told = json.loads(out)
    assert code == 1 and not told["good"]
    assert {check["check"] for check in told["checks"] if not check["ok"]} == {"quiet"}
    assert "LOUD" in next(check["wrong"] for check in told["checks"] if check["check"] == "quiet")


def test_what_only_the_run_finds(mine: str, fold_data, capsys) -> None:
    code, out, _ = call(capsys, f"{mine}:NarrowGrid")
    assert code == 1
    assert "NarrowGrid: 1 of 16 checks fail" in out
    assert f"(mine.py:{NARROW_LINE})" in out and "reconstruct raised RuntimeError" not in out.split("smoke run")[0]
    assert "ranking AP" not in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["vea3d"], "no model is called 'vea3d'; did you mean 'vae3d'?"),
        (["none.py:Net"], "none.py: no such file"),
        (["{mine}:Sond"], "has no class 'Sond'; did you mean 'Sound'?"),
        (["{mine}:NoModel"], "class NoModel is not a uadbench.models.base.Model"),
        (["{mine}:Sound", "--set", "rate=fast"], "Sound.rate='fast' is not of type float"),
        (["{mine}:Sound", "--set", "vae3d.rate=1"], "--set vae3d.rate=1: write OPTION=VALUE"),
        (["{mine}:Sound", "--set", "rate"], "--set rate: write OPTION=VALUE"),
    ],
)
def test_no_such_model_is_one_line_and_exit_2(arguments, complaint: str, mine: str, capsys) -> None:
    code, out, err = call(capsys, *(argument.format(mine=mine) for argument in arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert complaint in err
