"""What a type checker sees of the package: everything that is public, with its types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import uadbench

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_client_is_typed(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(HERE / "client.py")],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", sorted(set(uadbench._PUBLIC)))
def test_every_public_name_is_typed_and_documented(name: str) -> None:
    source = (Path(uadbench.__file__)).read_text(encoding="utf-8")
    module = uadbench._PUBLIC[name]
    assert f"    from {module} import {name} as {name}\n" in source
    assert getattr(uadbench, name).__doc__
