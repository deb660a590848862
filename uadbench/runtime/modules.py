"""Location of a module's source file, found without importing the module or its packages."""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path


def module_file(name: str) -> Path | None:
    """Find the source file of a module.

    Args:
        name: The dotted name of the module.

    Returns:
        The `.py` file; None if there is none.
    """
    top, *inner = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # a third-party finder failed, or a module without a spec such as __main__
        return None
    for part in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module in a statement `from ... import ...`.

    Args:
        node: The statement.
        package: The package of the module that contains the statement, which relative imports refer to.

    Returns:
        The dotted name.
    """
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])
