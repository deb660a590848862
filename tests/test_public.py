"""The public names: all there, and loaded only when asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import uadbench


def test_every_public_name_is_there() -> None:
    for name in dir(uadbench):
        assert getattr(uadbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = uadbench.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, uadbench; assert not {'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
