"""Files beside the package: found in a checkout and in an installation, and listed in pyproject.toml."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from uadbench.leaderboard.ranking import BOARDS, LEADERBOARD
from uadbench.report.citations import FILE
from uadbench.runtime import shipped

ROOT = Path(__file__).parents[2]
NAMES = (FILE, f"{LEADERBOARD}/{BOARDS}")


def installed(folder: Path, record: str) -> ModuleType:
    """The module as it lies in an installation with this list of files."""
    module, information = folder / "uadbench" / "runtime" / "shipped.py", folder / "uadbench-0.1.0.dist-info"
    for each in (module.parent, information):
        each.mkdir(parents=True)
    shutil.copy(shipped.__file__, module)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: uadbench\nVersion: 0.1.0\n")
    (information / "RECORD").write_text(record)
    spec = importlib.util.spec_from_file_location("installed_shipped", module)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_a_checkout_has_them() -> None:
    assert [shipped.shipped(name) for name in NAMES] == [ROOT / name for name in NAMES]
    assert shipped.shipped("none") is None


def test_an_installation_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "lib"
    files = [tmp_path / "share" / "uadbench" / name for name in NAMES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("here")
    record = "".join(f"../share/uadbench/{name},,\n" for name in NAMES)
    module = installed(place, record)
    monkeypatch.syspath_prepend(str(place))
    found = [module.shipped(name) for name in NAMES]
    assert [file.resolve() for file in found] == files and module.shipped("none") is None


def test_the_wheel_contains_them() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    targets = {
        name: f"{folder}/{Path(name).name}" for folder, names in settings["data-files"].items() for name in names
    }
    assert targets == {name: f"{shipped.SHARE}/{name}" for name in NAMES}
