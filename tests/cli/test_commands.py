"""Every command as a user types it: what it prints, and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from uadbench.cli.main import app, main

HERE = Path(__file__).parents[2]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def run_folder(trained) -> Path:
    return trained[0].folder


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "uadbench", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() and not done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["list", "models"]], ids=" ".join)
def test_what_lists_imports_little(arguments: list[str]) -> None:
    """How long it takes is measured in `benchmarks`."""
    code = f"import sys\nfrom uadbench.cli.main import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'mlflow', 'numpy', 'pandas', 'nilearn'} & set(sys.modules)\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_run_prints_a_table_and_where_everything_lies(fold_data, tmp_path: Path, capsys) -> None:
    arguments = ["run", "--model", "mean, zscore", "--protocol", "smoke", "--output", str(tmp_path)]
    code, out, err = call(capsys, *arguments, "--details")
    assert code == 0, err
    tables, verdict = ("zscore", "mean", "ranking AP", "95 %", "recovered", "damage"), "of 8 participants"
    for word in (*tables, verdict, "unseen", "hyper", "matched", "mlflow ui", "score hash"):
        assert word in out
    assert "evaluating mean: 56 of 56" in err  # 8 test scans, 24 patients, 24 scans of the bias audit
    assert err.count("cohort phantom: CN 701 participants") == 1
    assert "24 train (24 scans), 12 validate, 8 test, 24 patients, 24 in the bias audit (" in err
    folders = list(tmp_path.glob("phantom/smoke/*/fold0-seed0-*"))
    assert len(folders) == 2
    assert all((folder / "figures" / "severity.png").stat().st_size > 10_000 for folder in folders)
    again = call(capsys, *arguments)
    assert again[0] == 0
    assert "finished earlier" in again[2]
    planned = call(capsys, *arguments, "--dry-run", "--json")
    assert [row["state"] for row in json.loads(planned[1])] == ["done", "done"]
    single = call(capsys, "run", "--model", "mean", "--protocol", "smoke", "--output", str(tmp_path), "--details")
    assert "checkpoint" in single[1]
    assert "svppa" in single[1]


@pytest.mark.slow
def test_scans_that_were_learnt_from_are_told(tmp_path: Path, capsys) -> None:
    """A cohort that holds the training cohort's images under another name."""
    small = "phantom:participants=20,patients=2"
    (tmp_path / "twin.py").write_text(
        "from uadbench.cohorts.phantom import Phantom\n"
        "class Twin(Phantom):\n"
        "    def __init__(self):\n"
        "        super().__init__(participants=20, patients=2)\n"
        "        self.name = 'twin'\n"
    )
    options = ["--cohort", small, "--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none", "--json"]
    twin = ["--test-cohort", f"{tmp_path}/twin.py:Twin"]
    code, out, err = call(capsys, "run", "--model", "mean", *options, *twin)
    assert code == 0, err
    shared = json.loads(out)["results"][0]["result"]["cohort"]["shared_images"]
    assert shared > 0 and f"{shared} test scans are identical to scans that the model learns from" in err
    code, _, err = call(capsys, "run", "--model", "mean", *options)
    assert code == 0 and "identical to scans" not in err and "proportions of protocol" in err
    code, _, err = call(capsys, "run", "--model", "mean", *options, "--test-cohort", small)
    assert code == 2 and "is also the training cohort" in err


@pytest.mark.slow
def test_run_as_json(fold_data, tmp_path: Path, capsys) -> None:
    options = ["--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none", "--json"]
    code, out, _ = call(capsys, "run", "--model", "identity", *options)
    assert code == 0
    (found,) = json.loads(out)["results"]
    headline = found["result"]["headline"]
    assert headline["ap_standard"] == headline["ap_native"] == headline["prevalence"]
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_profile_says_where_the_time_went(fold_data, tmp_path: Path, capsys) -> None:
    options = ["--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none", "--profile"]
    code, out, _ = call(capsys, "run", "--model", "ae3d", *options)
    assert code == 0
    assert "of it in the model" in out and "training steps" in out
    phases = json.loads(call(capsys, "run", "--model", "ae3d", *options, "--json")[1])["profile"]
    assert {"start", "training steps", "validation passes", "test passes", "measures", "simulation"} <= set(phases)
    assert all(seconds >= 0 for seconds in phases.values())


@pytest.mark.slow
def test_a_models_file_with_an_option(fold_data, tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from uadbench.models.base import ReconstructionModel\n"
        "class Half(ReconstructionModel):\n"
        "    def __init__(self, grid, part: float = 0.5):\n"
        "        super().__init__(grid)\n"
        "        self.part = part\n"
        "    def reconstruct(self, batch):\n"
        "        return self.part * batch.images\n"
    )
    options = ["--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none", "--json"]
    code, out, err = call(capsys, "run", "--model", f"{file}:Half", "--set", "Half.part=0.25", *options)
    assert code == 0, err
    model = json.loads(out)["results"][0]["result"]["model"]
    assert (model["name"], model["options"]) == ("Half", {"part": 0.25})


@pytest.mark.slow
def test_a_bad_scan_is_bad_for_every_model(tmp_path: Path, capsys) -> None:
    import nibabel

    code, _, err = call(capsys, "cohort", "export", str(tmp_path / "caps"), "--participants", "6", "--baseline")
    assert code == 0, err
    scan = sorted((tmp_path / "caps").glob("subjects/*/*/pet_linear/*.nii.gz"))[0]
    image = nibabel.load(scan)
    data = np.asarray(image.dataobj).copy()
    data[80, 80, 80] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, image.affine), scan)
    sizes = [f"protocol.split.{k}={v}" for k, v in (("train", 1), ("validation", 4), ("test", 1), ("folds", 1))]
    arguments = [word for size in sizes for word in ("--set", size)]
    options = ["--protocol", "smoke", "--cohort", str(tmp_path / "caps"), "--output", str(tmp_path / "runs")]
    code, _, err = call(capsys, "run", "--model", "mean", "--model", "identity", *options, *arguments)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert scan.name in line
    assert "1 voxel is NaN" in line
    assert not list((tmp_path / "runs").glob("caps*"))


@pytest.mark.slow
def test_changing_the_protocol_is_unranked(fold_data, tmp_path: Path, capsys) -> None:
    options = ["--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none"]
    _, out, _ = call(capsys, "run", "--model", "mean", "--set", "protocol.testsets.severities=[0.3]", *options)
    assert "Unranked" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model", "vea3d"], "error: no model is called 'vea3d'; did you mean 'vae3d'?"),
        (["--model", "mean", "--protocol", "quik"], "did you mean 'quick'?"),
        (["--model", "mean", "--set", "protocol.training.epoch=3"], "did you mean 'epochs'?"),
        (["--model", "vae3d", "--set", "vae3d.latent=many"], "vae3d.latent='many' is not of type"),
        (["--model", "vae3d", "--set", "vae3d.latnet=3"], "vae3d has no option 'latnet'"),
        (["--model", "vae3d", "--set", "ae3d.latent=3"], "'ae3d' is not among the models of this run"),
        (["--model", "vae3d", "--set", "latent"], "write MODEL.OPTION=VALUE"),
        (["--model", "mean", "--fold", "7"], "fold 7 does not exist"),
        (["--model", "mean", "--seed", "x"], "--seed x: give numbers"),
        (["--model", "mean", "--device", "abacus"], "--device abacus"),
        (["--model", "mean", "--cohort", "phantm"], "did you mean 'phantom'?"),
        (["--model", "mean", "--cohort", "phantom:participants=15"], "15 healthy participants are too few for 3 folds"),
        (["--model", "mean", "--test-cohort", "phantm"], "did you mean 'phantom'?"),
        (["--model", "mean", "--healthy", "NC"], "no scan has the diagnosis NC; there are: CN ("),
        (["--model", "mean", "--healthy", ","], "--healthy ',': give a diagnosis, such as CN"),
        (["--model", "mean", "--patients", "AD,CN"], "diagnosis 'cn'"),
        (["--model", "mean", "--split", "none.json"], "none.json: no such file or folder"),
        (["--model", "mean", "--simulated", "none"], "none: no such folder"),
        (["--model", "mean", "--output", "/proc/runs"], "cannot write here"),
        (["--model", "mean", "--tracking-uri", "./mlruns"], "give sqlite:///PATH"),
        (["--model", "./none.py:Net"], "no such file"),
        (["--model", "mean", "--set", "protocol.testsets.anomalies=['adx']"], "did you mean 'ad'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, complaint: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    protocol = [] if "--protocol" in arguments else ["--protocol", "smoke"]
    code, out, err = call(capsys, "run", *protocol, *arguments)
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.glob("runs/phantom*"))


def test_version(capsys) -> None:
    from uadbench import __version__

    assert call(capsys, "--version")[:2] == (0, f"uadbench {__version__}\n")


def test_debug_shows_the_traceback(capsys) -> None:
    from uadbench.errors import InputError

    with pytest.raises(InputError):
        main(["run", "--model", "vea3d", "--debug"])


def test_lists_and_cards(capsys) -> None:
    for kind, name in (("models", "aae3d"), ("protocols", "paper-cv"), ("cohorts", "phantom")):
        code, out, _ = call(capsys, "list", kind, "--json")
        assert code == 0
        assert name in [row["name"] for row in json.loads(out)]
        assert name in call(capsys, "list", kind)[1]
    code, out, _ = call(capsys, "show", "vae3d")
    assert "--set vae3d.latent=128" in out
    assert "Hassanaly" in out
    assert json.loads(call(capsys, "show", "quick", "--json")[1])["grid"]["voxel_mm"] == 4.0
    assert tomllib.loads(call(capsys, "show", "quick")[1])["grid"]["voxel_mm"] == 4.0
    assert "did you mean 'vae3d'" in call(capsys, "show", "vaed3")[2]
    assert "did you mean 'models'" in call(capsys, "list", "model")[2]


@pytest.mark.slow
def test_track_later(run_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "track", str(run_folder))
    assert code == 0, err
    assert "logged to sqlite:///" in out
    assert call(capsys, "track", str(tmp_path / "none"))[0] == 2


@pytest.mark.slow
def test_simulate_and_export(fold_data, tmp_path: Path, capsys) -> None:
    code, out, err = call(capsys, "cohort", "export", str(tmp_path / "caps"), "--participants", "1", "--baseline")
    assert code == 0, err
    (scan,) = (tmp_path / "caps").glob("subjects/*/*/pet_linear/*_pet.nii.gz")
    options = ["--anomaly", "ad", "--severity", "0.3", "--output", str(tmp_path / "out")]
    code, out, err = call(capsys, "simulate", str(scan), *options)
    assert code == 0, err
    assert "effective reduction" in out
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 3
    code, out, _ = call(capsys, "simulate", str(scan), *options, "--json")
    assert 0.2 < json.loads(out)[0]["effective_reduction"] < 0.3
    code, _, err = call(capsys, "simulate", str(tmp_path / "none.nii"), *options)
    assert (code, err.count("error:")) == (2, 1)
    assert call(capsys, "cohort", "export", str(tmp_path / "c"), "--participants", "0")[0] == 2


def test_an_unforeseen_error_is_one_line(monkeypatch, capsys) -> None:
    import uadbench.protocols.schema

    monkeypatch.setattr(uadbench.protocols.schema, "load_protocol", lambda *a, **k: np.zeros(1)[5])
    code, _, err = call(capsys, "run", "--model", "mean")
    assert code == 3
    assert err.strip().splitlines()[-1].startswith("error: IndexError")
    assert "--debug" in err


def test_every_command_and_option_has_help() -> None:
    import typer

    def walk(command, path: str):  # type: ignore[no-untyped-def]
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{path} {name}")

    listed = (HERE / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    for path, command in walk(typer.main.get_command(app), "uadbench"):
        assert command.help, path
        for parameter in command.params:
            assert parameter.name == "help" or getattr(parameter, "help", None), f"{path}: {parameter.name}"
        if not hasattr(command, "commands"):
            assert f"| `{path}` |" in listed, f"docs/reference/commands.md does not list '{path}'"


def test_the_console_script_runs() -> None:
    script = Path(sys.executable).with_name("uadbench")
    printed = subprocess.run([script, "list", "protocols"], capture_output=True, text=True, check=True, env=os.environ)
    assert "smoke" in printed.stdout


@pytest.mark.slow
def test_cohort_info(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("uadbench.cohorts.card.figures.AGE_PEOPLE", 60)
    arguments = ["cohort", "info", "phantom:participants=14,patients=2", "--output", str(tmp_path)]
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert {"name", "value", "low", "high", "verdict"} <= told["figures"][0].keys() and len(told["figures"]) > 50
    folder = tmp_path / "phantom-participants-14-patients-2" / "card"
    assert json.loads((folder / "card.json").read_text()) == told
    assert (folder / "card.png").stat().st_size > 100_000
    code, out, _ = call(capsys, *arguments, "--participants", "12")
    assert (
        code == 0 and "mean SUVR, precuneus" in out and "needs 10 patients" in out and str(folder / "card.png") in out
    )
    code, _, err = call(capsys, *arguments, "--healthy", "HC")
    assert code == 2 and "no scan has the diagnosis HC" in err
    code, _, err = call(capsys, *arguments, "--template", str(tmp_path / "none.nii"))
    assert code == 2 and "none.nii" in err


def test_a_run_ends_with_a_verdict_of_few_lines(fold_data, tmp_path: Path, capsys) -> None:
    options = ["--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none"]
    code, out, _ = call(capsys, "run", "--model", "mean", *options)
    verdict, _, table = out.partition("\n\n")
    assert code == 0 and len(verdict.splitlines()) <= 5 and "--details" in table
    assert "ranking AP 0." in verdict and "--model zscore" in verdict and "uadbench report" in verdict
    code, out, _ = call(capsys, "run", "--model", "mean", "--model", "zscore", "--model", "identity", *options)
    verdict, _, table = out.partition("\n\n")
    assert code == 0 and len(verdict.splitlines()) <= 5 and "recovered" not in table
    assert "best run: " in verdict and "identity" in verdict and "zscore" in verdict
    following = verdict.splitlines()[-1].removeprefix("next: ")
    assert following.startswith("uadbench compare ") and len(list(tmp_path.glob("phantom/smoke/*/fold*"))) == 3
