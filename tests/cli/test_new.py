"""`uadbench new model`: what it writes is sound as it is, and it writes over nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from uadbench.cli.main import main

REPOSITORY = Path(__file__).parents[2]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.fixture(params=["reconstruction", "map"])
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch, capsys) -> tuple[str, Path]:
    """The kind, and the folder with my_net.py and test_my_net.py, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "new", "model", "my_net", "--kind", request.param)
    assert code == 0, err
    assert out.splitlines()[:2] == ["my_net.py", "test_my_net.py"]
    assert "uadbench test-model ./my_net.py:MyNet" in out
    assert "uadbench run --model ./my_net.py:MyNet --protocol smoke" in out
    return request.param, tmp_path


@pytest.mark.slow
def test_it_is_linted_formatted_and_typed_as_this_tree_is(written, tmp_path: Path) -> None:
    files = [str(file) for file in sorted(tmp_path.glob("*.py"))]
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--no-cache", "--config", "pyproject.toml", "--config", f"src = ['{REPOSITORY}']"]
    types = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *files]
    for command in ([*ruff, "check", *settings, *files], [*ruff, "format", "--check", *settings, *files], types):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_it_passes_its_own_test(written) -> None:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "15 passed" in done.stdout


@pytest.mark.slow
def test_it_runs_and_beats_chance(written, fold_data, capsys) -> None:
    kind, _ = written
    options = ["--protocol", "smoke", "--output", "out", "--tracking-uri", "none", "--json"]
    code, out, err = call(capsys, "run", "--model", "./my_net.py:MyNet", *options)
    assert code == 0, err
    (found,) = json.loads(out)["results"]
    headline, model = found["result"]["headline"], found["result"]["model"]
    assert model["reconstructs"] == (kind == "reconstruction")
    assert headline["ap_standard"] > 3 * headline["prevalence"]
    assert found["result"]["training"]["epochs"] == 4


def test_it_writes_over_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("test_my_net.py").write_text("mine")
    code, _, err = call(capsys, "new", "model", "my_net")
    assert code == 2 and "test_my_net.py: the file exists" in err
    assert list(tmp_path.iterdir()) == [tmp_path / "test_my_net.py"] and Path("test_my_net.py").read_text() == "mine"
    code, out, _ = call(capsys, "new", "model", "my_net", "--folder", "other models/deep")
    assert code == 0 and Path("other models/deep/my_net.py").is_file()
    assert "uadbench test-model './other models/deep/my_net.py:MyNet'" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["My-Net"], "'My-Net' is not a lower-case Python module name; did you mean 'my_net'?"),
        (["MyNet"], "did you mean 'mynet'?"),
        (["../escape"], "did you mean 'escape'?"),
        (["3d"], "'3d' is not a lower-case Python module name"),
        (["_hidden"], "did you mean 'hidden'?"),
        (["class"], "'class' is a Python keyword; did you mean 'class_net'?"),
        (["vae3d"], "model 'vae3d' exists (built in); did you mean 'my_vae3d'?"),
        (["torch"], "'torch' is an existing module that your file would hide; did you mean 'my_torch'?"),
        (["my_net", "--kind", "maps"], "--kind maps: unknown kind; did you mean 'map'?"),
        (["my_net", "--folder", "/proc/none"], "/proc/none: cannot write here"),
    ],
)
def test_bad_names_are_one_line_and_exit_2(arguments, complaint: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "new", "model", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert complaint in err
    assert not list(tmp_path.iterdir())
