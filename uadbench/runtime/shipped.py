"""Files of the repository that the wheel contains beside the package: the leaderboard and CITATION.cff."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

SHARE = "share/uadbench"
"""Folder of these files in an installation; it is the target of `data-files` in pyproject.toml."""


def shipped(name: str) -> Path | None:
    """Find a file in the checkout that contains this package, or in the installation.

    Args:
        name: Path of the file in the repository.

    Returns:
        The file; None if the package is neither in a checkout nor installed with the file.
    """
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return root / name if (root / name).is_file() else None
    try:
        listed = files("uadbench") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in listed if file.as_posix().endswith(f"{SHARE}/{name}")), None)
