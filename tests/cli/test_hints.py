"""Every command that is printed works when pasted, in a folder whose name has blanks, accents and an apostrophe."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_commands import call
from uadbench.runtime.commands import command, spelled

FOLDER = "L'été à la mer"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are given, below which all has such a name."""
    there = tmp_path / FOLDER
    there.mkdir()
    monkeypatch.chdir(there)
    return there


def pasted(line: str, program: str = "uadbench") -> list[str]:
    """The words of the command at the end of a printed line, as a shell reads them."""
    text = line[line.index(f"{program} ") :]
    read = subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True).stdout
    words = read.splitlines()
    assert words == shlex.split(text) and words[0] == program
    return words[1:]


def last(text: str, program: str = "uadbench") -> list[str]:
    """The command of the last line that has one."""
    return pasted([line for line in text.splitlines() if f"{program} " in line][-1], program)


def give(capsys, *arguments: str) -> str:
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    return out


@pytest.mark.slow
def test_a_cohort_is_exported_checked_split_and_run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """`caps` is a plugin's name, too; what is exported first is too small for any model."""
    small = last(give(capsys, "cohort", "export", "caps", "--participants", "6", "--baseline"))
    assert small == ["cohort", "check", "./caps"]
    assert call(capsys, *small)[0] in (0, 1)
    for name in ("caps", f"{FOLDER} 2"):
        run = last(give(capsys, "cohort", "export", name, "--participants", "16", "--baseline"))
        assert run[:2] == ["run", "--model"] and run[-1] == f"./{name}"
        assert call(capsys, *run, "--dry-run")[0] == 0
        shutil.copytree("caps", f"{FOLDER} 2", dirs_exist_ok=True)  # the second export finds all there
    options = ["--protocol", "smoke", "--healthy", "CN", "--output", "s p.json"]
    for cohort in ("caps", f"{FOLDER} 2"):
        use = last(give(capsys, "cohort", "split", cohort, *options))
        assert use[use.index("--healthy") + 1] == "CN" and use[use.index("--cohort") + 1] == cohort
        assert call(capsys, *use, "--dry-run")[0] == 0
    mean = ["mean" if word == "vae3d" else word for word in run]
    assert "score hash" in give(capsys, *mean, "--tracking-uri", "none", "--details")


@pytest.mark.slow
def test_a_result_is_logged_later_and_looked_at(home: Path, fold_data, monkeypatch, capsys) -> None:
    from uadbench import tracking
    from uadbench.errors import Unfinished

    def away(uri: str) -> None:
        raise Unfinished("away")

    run = ["run", "--model", "mean", "--protocol", "smoke", "--output", "the runs", "--tracking-uri"]
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "_require_answer", away)
        code, out, err = call(capsys, *run, "sqlite:///a b.db")
    assert code == 0 and not (home / "a b.db").exists()
    later = last(out)
    assert pasted(next(line for line in err.splitlines() if "later with: " in line)) == later
    assert "logged to" in give(capsys, *later)
    assert (home / "a b.db").is_file()
    shown = give(capsys, *run, "sqlite:///a b.db", "--details")
    ui = last(shown, "mlflow")
    assert ui == ["ui", "--backend-store-uri", "sqlite:///a b.db"]
    folder = next(home.glob("the runs/phantom/smoke/mean/fold0-*"))
    code, _, err = call(capsys, "report", "the runs")
    assert code == 2
    report = last(err)
    assert report == ["report", f"./{folder.relative_to(home)}"]
    assert "report" in give(capsys, *report, "--no-track")


def test_a_new_model_is_tested_and_run(home: Path, capsys) -> None:
    out = give(capsys, "new", "model", "my_net", "--folder", "my models")
    test, run = (pasted(line) for line in out.splitlines()[-2:])
    assert test == ["test-model", "./my models/my_net.py:MyNet"]
    assert call(capsys, *run, "--dry-run")[0] == 0


def test_a_leaderboard_is_built(home: Path, trained, capsys) -> None:

    build = last(give(capsys, "leaderboard", "add", str(trained[0].folder), "--root", "the board"))
    assert build == ["leaderboard", "build", "--root", "./the board"]
    give(capsys, *build)
    (home / "the board" / "index.html").unlink()
    code, out, _ = call(capsys, "leaderboard", "build", "--root", "the board", "--check")
    assert code == 1
    give(capsys, *last(out))
    assert (home / "the board" / "index.html").is_file()


def test_an_export_is_scored(home: Path, fold_data, capsys) -> None:
    few = ["--severities", "0.3", "--anomalies", "ad"]
    out = give(capsys, "testset", "export", "the test", "--protocol", "smoke", *few)
    score = last(out)
    assert score[:2] == ["score", "./the test"]
    code, _, err = call(capsys, *score, "--tracking-uri", "none")
    assert code == 2 and "reconstructions" in err  # the tool has not answered
    code, _, err = call(capsys, "score", "no test", "--name", "tool")
    assert code == 2 and last(err) == ["testset", "export", "./no test"]


def test_no_message_builds_a_command_by_hand() -> None:
    """Commands with values in them come from `commands.command`; those in docstrings and examples have none."""
    package = Path(__file__).parents[2] / "uadbench"
    by_hand = re.compile(r"""f["'][^"']*(uadbench|mlflow ui) [a-z-]+[^"']*\{""")
    found = [
        f"{file.name}: {line.strip()}"
        for file in sorted(package.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if by_hand.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["a b", "d'été", '"q"', "$HOME", "a;b", "-x", "~x", "caps", "a?b*", "`ls`"])
def test_a_shell_reads_back_what_was_meant(name: str, tmp_path: Path) -> None:
    words = pasted(command("uadbench", "track", Path(name), tracking_uri=name, model=[name, "b"], flag=True, none=None))
    assert words[1] == spelled(Path(name)) and Path(words[1]) == Path(name)
    rest = " ".join(words[2:]).replace("=", " ")
    assert rest == f"--tracking-uri {name} --model {name} --model b --flag"
