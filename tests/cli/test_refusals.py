"""What can be refused early is refused before a scan is read: one line, exit code 2, and nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.test_commands import call
from uadbench.cli.main import app
from uadbench.cli.usage import EXAMPLES
from uadbench.models import extras

HERE = Path(__file__).parents[2]
RUN = "run --protocol smoke"
EXPORT = "testset export out --protocol smoke"
SCORE = "score empty --name tool"
SIMULATE = "simulate none.nii --anomaly ad --severity 0.3 --output out"

CASES = {
    "device, unknown": (f"{RUN} --model mean --device cudda", "did you mean 'cuda'"),
    "device, not here": (f"{RUN} --model mean --device cuda:77", "--device cuda:77"),
    "device of workers": (f"{RUN} --model mean --launcher dask --device cudda", "--device cudda"),
    "address, one slash": (f"{RUN} --model mean --tracking-uri sqlite:x.db", "did you mean sqlite:///x.db"),
    "address, two": (f"{RUN} --model mean --tracking-uri sqlite://x.db", "did you mean sqlite:///x.db"),
    "address, no file": (f"{RUN} --model mean --tracking-uri sqlite:///", "sqlite:///PATH"),
    "address, in memory": (f"{RUN} --model mean --tracking-uri sqlite:///:memory:", "sqlite:///PATH"),
    "address, folder": (f"{RUN} --model mean --tracking-uri sqlite:///empty", "is a folder"),
    "address, below a file": (f"{RUN} --model mean --tracking-uri sqlite:///file/x.db", "file"),
    "address, no host": (f"{RUN} --model mean --tracking-uri http://", "http://HOST:PORT"),
    "address, port": (f"{RUN} --model mean --tracking-uri http://host:abc", "http://HOST:PORT"),
    "output, a file": (f"{RUN} --model mean --output file", "file: cannot write here"),
    "output, below a file": (f"{RUN} --model mean --output file/runs", "cannot write here"),
    "option, no such": (f"{RUN} --model vae3d --set vae3d.latnt=3", "no option 'latnt'"),
    "option, type": (f"{RUN} --model vae3d --set vae3d.latent=abc", "vae3d.latent='abc' is not of type int"),
    "option, range": (f"{RUN} --model vae3d --set vae3d.latent=0", "vae3d.latent='0'"),
    "option, members": (f"{RUN} --model ensemble --set ensemble.members=zscore,nobody", "nobody"),
    "time limit": (f"{RUN} --model mean --time-limit soon", "90s, 30m, 4h or 2d"),
    "slurm": (f"{RUN} --model mean --launcher dask --slurm memory=much", "memory must be a size"),
    "split": (f"{RUN} --model mean --split none.json", "none.json"),
    "checkpoint": (f"{RUN} --model mean --checkpoint none.safetensors", "none.safetensors"),
    "file without a class": (f"{RUN} --model ./mine.py", "./mine.py:Mine"),
    "cohort, no table": (f"{RUN} --model mean --cohort scans.xlsx", ".tsv"),
    "cohort, text": (f"{RUN} --model mean --cohort scans.txt", ".csv"),
    "no option": ("run mean", "uadbench run --model mean"),
    "report, folder of runs": ("report runs", "fold0-seed0-0"),
    "report, output": ("report RUN --output file", "file: cannot write here"),
    "track, address": ("track RUN --tracking-uri sqlite:x.db", "sqlite:///x.db"),
    "share, output": ("share RUN --output file", "cannot write here"),
    "compare, kind of picture": ("compare RUN RUN --pictures x.jpg", ".pdf"),
    "compare, picture": ("compare RUN RUN --pictures file/x.png", "cannot write here"),
    "compare, figure": ("compare RUN RUN --figure file/x.png", "cannot write here"),
    "export, folder": ("testset export file --protocol smoke", "file: cannot write here"),
    "export, severity": (f"{EXPORT} --severities 7", "--severities 7"),
    "export, dementia": (f"{EXPORT} --anomalies adx", "did you mean 'ad'"),
    "export, fold": (f"{EXPORT} --fold 99", "fold 99"),
    "export, cohort": (f"{EXPORT} --cohort scans.txt", ".csv"),
    "score, name": ("score empty --name vae3d", "--name vae3d"),
    "score, output": (f"{SCORE} --output file", "cannot write here"),
    "score, address": (f"{SCORE} --tracking-uri http://", "http://HOST:PORT"),
    "score, folder": (SCORE, "uadbench testset export ./empty"),
    "simulate, severity": (SIMULATE.replace("0.3", "7"), "severity 7"),
    "simulate, dementia": (SIMULATE.replace("ad --", "adx --"), "did you mean 'ad'"),
    "simulate, input": (SIMULATE, "none.nii"),
    "info, cohort": ("cohort info phantm", "did you mean 'phantom'"),
    "info, diagnosis": ("cohort info phantom:participants=20 --healthy XX --output out", "XX"),
    "info, output": ("cohort info phantom:participants=20 --output file", "cannot write here"),
    "info, template": ("cohort info phantom:participants=20 --template none.nii --output out", "none.nii"),
    "check, cohort": ("cohort check scans.xlsx", ".tsv"),
    "check, diagnosis": ("cohort check empty --healthy ,", "--healthy ','"),
    "cohort export, people": ("cohort export out --participants 0", "--participants 0"),
    "cohort export, folder": ("cohort export file", "file"),
    "cohort split, protocol": ("cohort split phantom --output s.json --protocol smok", "did you mean 'smoke'"),
    "verify, device": ("leaderboard verify --root board --rerun identity --device cudda", "--device cudda"),
    "verify, model": ("leaderboard verify --root board --rerun identiti", "did you mean 'identity'"),
    "verify, second model": ("leaderboard verify --root board --rerun identity --rerun x", "--rerun x"),
    "verify, seed": ("leaderboard verify --root board --rerun identity --seed 77", "--seed 77"),
    "verify, output": ("leaderboard verify --root board --rerun identity --output file", "cannot write here"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few things that are not what they should be, and a cache that is not there yet."""
    there = tmp_path / "place"
    (there / "empty").mkdir(parents=True)
    (there / "runs" / "phantom" / "smoke" / "mean" / "fold0-seed0-0").mkdir(parents=True)
    (there / "runs" / "phantom" / "smoke" / "mean" / "fold0-seed0-0" / "result.json").write_text("{}")
    for name in ("file", "scans.txt", "scans.xlsx"):
        (there / name).write_text("x")
    (there / "mine.py").write_text("class Mine:\n    pass\n")
    committed = Path("results", "quick", "phantom", "identity")
    shutil.copytree(HERE / "leaderboard" / committed, there / "board" / committed)
    monkeypatch.chdir(there)
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    return there


def content(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() if file.is_file() else b"" for file in sorted(folder.rglob("*"))}


def refused(arguments: list[str], place: Path, capsys) -> str:
    """The error line of a command that leaves everything as it was."""
    before = content(place)
    code, out, err = call(capsys, *arguments)
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and out == "" and "Traceback" not in err
    assert content(place) == before
    assert not (place.parent / "cache").exists(), "a scan was read, or the phantom built"
    return line


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_refused_before_anything_is_done(case: str, place: Path, trained, capsys) -> None:
    text, complaint = CASES[case]
    arguments = [str(trained[0].folder) if word == "RUN" else word for word in text.split(" ")]
    assert complaint in refused(arguments, place, capsys)


@pytest.mark.parametrize("model", ["dae3d", "patchcore", "ensemble"])
def test_a_missing_extra(model: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(extras, "EXTRAS", dict.fromkeys(extras.EXTRAS, ("not_there",)))
    line = refused([*RUN.split(), "--model", "mean", "--model", model], place, capsys)
    assert "pip install 'uadbench[" in line


def test_an_address_of_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    assert "MLFLOW_TRACKING_URI ./mlruns" in refused([*RUN.split(), "--model", "mean"], place, capsys)


def test_every_command_has_a_right_example() -> None:
    import shlex

    import typer

    def walk(group: object, path: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
        for name, child in getattr(group, "commands", {}).items():
            below = list(walk(child, (*path, name)))
            yield from below or [(" ".join((*path, name)), child)]

    commands = dict(walk(typer.main.get_command(app)))
    assert set(EXAMPLES) == set(commands)
    for name, command in commands.items():
        words = shlex.split(EXAMPLES[name])[1 + len(name.split()) :]
        command.make_context(name, words)


@pytest.mark.parametrize("name", EXAMPLES)
def test_wrong_use_names_a_right_example(name: str, place: Path, capsys) -> None:
    line = refused([*name.split(), "--no-such-option"], place, capsys)
    assert EXAMPLES[name].partition(" --")[0] in line
