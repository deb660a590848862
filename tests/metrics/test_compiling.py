"""Compilation is announced once, and only where machine code is not in the cache."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from uadbench.metrics.compiled.decorator import compiling_announced
from uadbench.runtime.progress import Silent

SOURCE = """
from uadbench.metrics.compiled.decorator import compiled

@compiled
def double(values):
    return 2 * values.sum()

@compiled
def triple(values):
    return 3 * values.sum()
"""


class Notices(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


def load(file: Path, name: str) -> ModuleType:
    """The module anew, as another process would load it."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType) -> list[str]:
    """What is announced while both functions are called, twice."""
    progress = Notices()
    with compiling_announced(progress):
        for _ in range(2):
            assert (module.double(np.ones(3)), module.triple(np.ones(3))) == (6.0, 9.0)
    return progress.lines


def test_a_cold_cache_is_announced_once_and_a_warm_one_never(tmp_path: Path) -> None:
    file = tmp_path / "kernels.py"
    file.write_text(SOURCE)
    (line,) = call(load(file, "uadbench.kernels"))
    assert "once per machine" in line
    assert call(load(file, "uadbench.kernels")) == []


def test_without_a_cache_it_says_that_every_process_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    plain = numba.njit

    def refuse(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", refuse)
    file = tmp_path / "kernels.py"
    file.write_text(SOURCE)
    (line,) = call(load(file, "uadbench.kernels"))
    assert "every process" in line


def test_functions_of_others_are_not_announced(tmp_path: Path) -> None:
    file = tmp_path / "kernels.py"
    file.write_text(SOURCE)
    assert call(load(file, "another.kernels")) == []
