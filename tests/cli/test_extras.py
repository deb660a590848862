"""Models whose extra is missing: named and left out of 'all', an error where they are asked for."""

from __future__ import annotations

import json

import pytest

from uadbench import registry
from uadbench.cli.main import main
from uadbench.models import extras


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without MONAI and without the weights."""
    monkeypatch.setattr(extras, "EXTRAS", dict.fromkeys(extras.EXTRAS, ("not_there",)))


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


@pytest.mark.usefixtures("without")
def test_all_models_are_those_that_can_be_made(capsys, tmp_path) -> None:
    plan = ["--protocol", "smoke", "--dry-run", "--json", "--output", str(tmp_path)]
    code, out, err = call(capsys, "run", "--model", "all", *plan)
    needy = {name for name, plugin in registry.models.load_all().items() if getattr(plugin, "extra", "")}
    assert code == 0 and {row["model"] for row in json.loads(out)} == set(registry.models.names()) - needy
    for name in needy:
        assert f"{name} is skipped: it needs " in err.replace("\n", " ")
    assert {"dae3d", "ldm3d", "patchcore"} <= needy and "vae3d" not in needy


@pytest.mark.usefixtures("without")
def test_a_model_that_is_asked_for_fails_in_one_line(capsys, tmp_path) -> None:
    run = ["run", "--model", "dae3d", "--protocol", "smoke", "--output", str(tmp_path), "--tracking-uri", "none"]
    code, _, err = call(capsys, *run)
    assert code == 2 and err.splitlines()[-1].startswith("error: dae3d needs not_there; install with: pip install")
