"""Importing above a torchvision whose compiled operators are missing: with a package that stumbles as the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STUMBLING = """
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""


def imported(folder: Path, package: str) -> subprocess.CompletedProcess[str]:
    """Import a package of `folder` in a process of its own: operators that were declared stay so."""
    code = (
        "import sys; from uadbench.models.layers.torchvision_ops import import_above_torchvision as load; "
        f"sys.path.insert(0, {str(folder)!r}); print(load({package!r}).answer)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "torchvision.py").write_text(STUMBLING)
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "__init__.py").write_text("from above import inner")
    (tmp_path / "above" / "inner.py").write_text("import torchvision; answer = 42")
    (tmp_path / "faulty.py").write_text("raise RuntimeError('another fault')")
    return tmp_path


def test_missing_operators_are_declared(packages: Path) -> None:
    assert imported(packages, "above.inner").stdout == "42\n"


def test_another_error_stays(packages: Path) -> None:
    assert "RuntimeError: another fault" in imported(packages, "faulty").stderr


def test_without_help_the_package_stumbles(packages: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import above"], cwd=packages, capture_output=True, text=True, check=False
    )
    assert "operator torchvision::nms does not exist" in done.stderr
