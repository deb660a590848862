"""Where the source of a module lies, found without importing it or a package around it."""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path


def module_file(name: str) -> Path | None:
    """The `.py` file of a module, by its dotted name; None where there is none."""
    top, *inner = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # a finder of somebody else's, and modules without a spec such as __main__
        return None
    for part in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The whole name of the module in `from ... import ...`, written in a module of `package`."""
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])
