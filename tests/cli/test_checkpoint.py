"""`uadbench run --checkpoint`: scored as if trained here, and never taken for it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from uadbench.cli.main import main
from uadbench.errors import InputError
from uadbench.results.schema import RESULT, read_result


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


SMOKE = ("run", "--model", "vae3d", "--protocol", "smoke", "--tracking-uri", "none")


@pytest.mark.slow
def test_the_same_weights_have_the_same_scores_and_no_rank(trained, tmp_path: Path, capsys) -> None:
    outcome, _ = trained
    file = tmp_path / "theirs.safetensors"
    shutil.copy(outcome.folder / "model.safetensors", file)
    output = ("--output", tmp_path / "out")
    code, _, err = call(capsys, *SMOKE, *output, "--checkpoint", file)
    assert code == 0, err
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"weights from a file, SHA-256 {digest[:12]}: unranked" in err and "training vae3d" not in err
    (folder,) = (tmp_path / "out").glob("phantom/smoke/vae3d/fold0-seed0-*")
    result = read_result(folder)
    assert result.score_hash == outcome.result.score_hash
    assert result.fit_key != outcome.result.fit_key and result.eval_key != outcome.result.eval_key
    assert (result.model.weights, result.training, result.cost.train_seconds) == (digest, None, None)
    assert outcome.result.model.weights is None and outcome.result.protocol.ranked
    assert not result.protocol.ranked
    assert "finished earlier" in call(capsys, *SMOKE, *output, "--checkpoint", file)[2]
    planned = json.loads(call(capsys, *SMOKE, *output, "--dry-run", "--json")[1])
    assert [row["state"] for row in planned] == ["to do"], "a training is not what was scored"


def test_other_weights_are_another_run(trained, tmp_path: Path, capsys) -> None:
    outcome, _ = trained
    weights = load_file(outcome.folder / "model.safetensors")
    for number in range(2):
        save_file(weights, tmp_path / f"{number}.safetensors")
        name = "posterior.bias"
        weights[name] = weights[name] + 0.5 * torch.ones_like(weights[name])
    folders = set()
    for number in range(2):
        plan = ("--output", tmp_path, "--checkpoint", tmp_path / f"{number}.safetensors", "--dry-run", "--json")
        code, out, err = call(capsys, *SMOKE, *plan)
        assert code == 0, err
        folders |= {row["folder"] for row in json.loads(out)}
    assert len(folders) == 2


@pytest.mark.slow
def test_a_run_folder_brings_its_options(tmp_path: Path, fold_data, capsys) -> None:
    output = ("--output", tmp_path, "--json")
    code, out, err = call(capsys, *SMOKE, *output, "--set", "vae3d.latent=5", "--set", "vae3d.width=3")
    assert code == 0, err
    (found,) = json.loads(out)["results"]
    code, out, err = call(capsys, *SMOKE, *output, "--checkpoint", found["folder"])
    assert code == 0, err
    (again,) = json.loads(out)["results"]
    assert again["result"]["model"]["options"] == found["result"]["model"]["options"]
    assert again["result"]["score_hash"] == found["result"]["score_hash"]
    code, _, err = call(capsys, *SMOKE, *output, "--checkpoint", found["folder"], "--set", "vae3d.latent=6")
    assert code == 2 and "'posterior.weight' is (10," in err, "what the user sets wins"


@pytest.mark.slow
def test_it_cannot_be_ranked(trained, tmp_path: Path, capsys) -> None:
    outcome, _ = trained
    code, _, err = call(capsys, *SMOKE, "--output", tmp_path, "--checkpoint", outcome.folder)
    assert code == 0, err
    (folder,) = tmp_path.glob("phantom/smoke/vae3d/fold0-seed0-*")
    code, _, err = call(capsys, "leaderboard", "add", folder, "--root", tmp_path / "board")
    assert code == 2 and not (tmp_path / "board").exists()
    told = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    told["protocol"]["ranked"] = True
    (folder / RESULT).write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"weights .* not ranked"):
        read_result(folder)
    assert call(capsys, "report", folder)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model", "ae3d"], "give only one of vae3d, ae3d"),
        (["--seed", "0,1"], "--seed 0,1: --checkpoint evaluates"),
        (["--fold", "all"], "--fold all: --checkpoint evaluates"),
        (["--set", "vae3d.latent=5"], "in the file and (10, "),
        (["--checkpoint", "none.safetensors"], "--checkpoint none.safetensors: no such file"),
        (["--checkpoint", "theirs.pth"], "pickle files can execute code"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(
    arguments, complaint: str, trained, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs.pth").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    code, out, err = call(capsys, *SMOKE, "--checkpoint", trained[0].folder / "model.safetensors", *arguments)
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out) == (2, "") and complaint in line
    assert "evaluating" not in err and not Path("runs").exists()
