"""Names to plugins: ours, other packages', and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from uadbench import registry
from uadbench.errors import InputError
from uadbench.registry import Registry, check_options


def fake_package(site: Path, name: str, points: str, code: str) -> None:
    """Lay an installed package down, as pip leaves it: a module and its metadata."""
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[uadbench.models]\n{points}\n")


MODEL = """
from uadbench.models.base import Model
class Other(Model):
    def anomaly_map(self, batch):
        return -batch.images
"""


def test_built_in_models_are_listed_without_importing_torch() -> None:
    code = "import sys; from uadbench.registry import models; print(*models.origins())"
    code += "; assert 'torch' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"identity", "mean", "zscore", "ae3d", "vae3d", "aae3d"} <= set(printed)
    assert all(origin.summary for origin in registry.models.origins().values())


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'vae3d'"):
        registry.models.get("vea3d")


def test_another_package_registers_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(tmp_path, "otherpackage", "other = otherpackage:Other", MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    models = Registry("model", "uadbench.models", "uadbench.models")
    assert models.origins()["other"].source == "otherpackage (otherpackage:Other)"
    assert models.get("other").registered_name == "other"  # type: ignore[attr-defined]


@pytest.mark.parametrize("point", ["heavy.nets:Net", "heavy:Net", "heavy:Renamed"])
def test_a_package_s_model_is_summarised_without_an_import(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_package(tmp_path, "light", f"net = {point}", "")
    (tmp_path / "heavy").mkdir()
    exported = "from .nets import Net\nfrom heavy.nets import Net as Renamed\n"
    (tmp_path / "heavy" / "__init__.py").write_text(f"{exported}raise RuntimeError('imported')\n")
    (tmp_path / "heavy" / "nets.py").write_text('class Net:\n    """Finds lesions.\n\n    Slowly.\n    """\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry("model", "uadbench.models", "uadbench.models").origins()["net"].summary == "Finds lesions."
    assert "heavy" not in sys.modules


@pytest.mark.parametrize(
    "code", ["class Net:\n  '''No end", "Net = 3\n", "from .none import Net\n", "\0", "class Net: 1"]
)
def test_a_package_whose_model_is_not_found_has_no_summary(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_package(tmp_path, "odd", "net = odd:Net", code)
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry("model", "uadbench.models", "uadbench.models").origins()["net"].summary == ""


def test_a_broken_plugin_is_reported_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(tmp_path, "brokenpackage", "broken = brokenpackage:Net", "raise RuntimeError('no luck')")
    monkeypatch.syspath_prepend(tmp_path)
    models = Registry("model", "uadbench.models", "uadbench.models")
    models._loaded.update({name: registry.models.get(name) for name in ("mean", "vae3d")})
    monkeypatch.setattr(models, "names", lambda: ["broken", "vae3d"])
    with pytest.warns(UserWarning, match="skipped: model 'broken' of brokenpackage .* no luck"):
        loaded = models.load_all()
    assert "broken" not in loaded
    assert "vae3d" in loaded


def test_a_name_offered_twice_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(tmp_path, "twicepackage", "vae3d = twicepackage:Other", MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="'vae3d' is offered twice: built in and twicepackage"):
        Registry("model", "uadbench.models", "uadbench.models").origins()


def test_registering_twice_is_an_error() -> None:
    models = Registry("model", "uadbench.models", "uadbench.models")
    models.register("net")(type("A", (), {}))
    with pytest.raises(InputError, match="'net' is registered twice"):
        models.register("net")(type("B", (), {}))


def test_a_file_cannot_take_a_built_in_name(tmp_path: Path) -> None:
    file = tmp_path / "thief.py"
    stolen = MODEL.replace("class", "@register_model('mean')\nclass")
    file.write_text(f"from uadbench.registry import register_model\n{stolen}")
    with pytest.raises(InputError, match=r"'mean' is registered twice: by uadbench\.models\.mean"):
        registry.models.get(f"{file}:Other")
    assert registry.models.get("mean").__module__ == "uadbench.models.mean"


def test_a_class_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODEL)
    assert registry.models.get(f"{file}:Other").__name__ == "Other"
    with pytest.raises(InputError, match="no class 'Othre'; did you mean 'Other'"):
        registry.models.get(f"{file}:Othre")
    with pytest.raises(InputError, match="no such file"):
        registry.models.get(f"{tmp_path}/none.py:Net")
    file.write_text("import nothing_of_that_name")
    with pytest.raises(InputError, match="cannot be loaded: ModuleNotFoundError"):
        registry.models.get(f"{file}:Other")


class Plugin:
    def __init__(
        self, grid: object, width: Annotated[int, Field(ge=1)] = 3, rate: float = 0.1, on: bool = True
    ) -> None:
        pass


class Untyped:
    def __init__(self, grid, part=0.5) -> None:  # type: ignore[no-untyped-def]
        pass


def test_options_are_converted_or_refused() -> None:
    given = {"width": "5", "rate": "1e-3", "on": "false"}
    assert check_options("net", Plugin, given) == {"width": 5, "rate": 1e-3, "on": False}
    assert check_options("net", Plugin, {"width": 7}) == {"width": 7}
    for bad in ({"width": "many"}, {"width": "2.5"}, {"width": "0"}, {"on": "perhaps"}, {"width": 2.5}):
        with pytest.raises(InputError, match="is not of type"):
            check_options("net", Plugin, bad)
    with pytest.raises(InputError, match="is not of type float"):
        check_options("net", Plugin, {"rate": "inf"})
    with pytest.raises(InputError, match="option 'part' has no type"):
        check_options("net", Untyped, {"part": "5"})
    with pytest.raises(InputError, match="has no option 'widht'"):
        check_options("net", Plugin, {"widht": "5"})
    with pytest.raises(InputError, match="has no option 'grid'"):
        check_options("net", Plugin, {"grid": "5"})
