"""A package of somebody else, installed by pip: its models are listed, tested and run by their names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMMAND = "from uadbench.cli.main import main; main()"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment of its own that sees this one's packages, with both plugins installed."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False, symlinks=True)
    python = root / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip())
    # a folder that is only named there would not have its own .pth files read, which an editable install needs
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name in ("halfway", "broken"):
        shutil.copytree(HERE / name, root / name)  # pip builds in the folder
        pip = [python, "-m", "pip", "install", "--no-index", "--no-build-isolation", "--no-deps", root / name]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(site.glob(f"uadbench_{name}-*.dist-info")), "it is installed here, and nowhere else"
    return python


def uadbench(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in that environment."""
    command = [python, "-c", COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ})


def test_it_is_not_in_this_environment() -> None:
    from uadbench import registry

    assert "halfway" not in registry.models.names(), sys.prefix


@pytest.mark.slow
def test_it_is_listed_with_its_origin(python: Path, tmp_path: Path) -> None:
    done = uadbench(python, tmp_path, "list", "models", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    origins = {name: row["source"] for name, row in rows.items()}
    assert rows["halfway"]["summary"] == "Reconstructs a scan as a mixture of itself and the mean healthy scan."
    assert rows["broken"]["summary"] == "" and rows["halfway"]["family"] == "other"
    assert origins["halfway"] == "uadbench-halfway (uadbench_halfway.model:Halfway)"
    assert origins["broken"] == "uadbench-broken (uadbench_broken:Net)" and origins["vae3d"] == "built in"
    shown = uadbench(python, tmp_path, "show", "halfway").stdout
    assert "--set halfway.part=0.5" in shown


@pytest.mark.slow
def test_it_is_tested_and_run_by_its_name(python: Path, fold_data, tmp_path: Path) -> None:
    tested = uadbench(python, tmp_path, "test-model", "halfway", "--set", "part=0.25")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "halfway: all 16 checks pass" in tested.stdout
    options = ["--protocol", "smoke", "--tracking-uri", "none", "--set", "halfway.part=0.25", "--json"]
    done = uadbench(python, tmp_path, "run", "--model", "halfway", *options)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["results"]
    assert found["result"]["model"] == {
        **found["result"]["model"],
        "name": "halfway",
        "options": {"part": 0.25},
        "reconstructs": True,
    }
    assert found["result"]["headline"]["ap_standard"] > 3 * found["result"]["headline"]["prevalence"]


@pytest.mark.slow
def test_a_broken_one_is_reported_and_skipped(python: Path, fold_data, tmp_path: Path) -> None:
    done = uadbench(python, tmp_path, "run", "--model", "all", "--protocol", "smoke", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    planned = {row["model"] for row in json.loads(done.stdout)}
    assert {"halfway", "vae3d"} <= planned and "broken" not in planned
    (warning,) = [line for line in done.stderr.splitlines() if "uadbench-broken" in line]
    assert warning.startswith("warning: skipped: model 'broken' of uadbench-broken")
    assert "No module named 'a_package_that_is_not_installed'" in warning
    for command in (["test-model", "broken"], ["run", "--model", "broken"]):
        done = uadbench(python, tmp_path, *command)
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
        assert done.stderr.startswith("error: model 'broken' of uadbench-broken (uadbench_broken:Net) cannot be loaded")
