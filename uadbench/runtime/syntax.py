"""Hashes of Python source that do not depend on formatting, comments, docstrings or the names of modules."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from uadbench.runtime.files import content_hash
from uadbench.runtime.modules import imported_from

LABELS = frozenset({"family"})
"""Class attributes that describe a model to readers of lists, and that no computation depends on."""

Import = tuple[str, str]
"""A module's full name, and the name that is imported from it: "" for the module itself."""


@dataclass(frozen=True)
class Reduced:
    """Source reduced to the parts that affect computation.

    Attributes:
        digest: The hash of the syntax tree, in which an import is represented only by the names that it binds.
        imports: The imports of these names, in an order that does not depend on the names of modules.
    """

    digest: str
    imports: tuple[Import, ...] = ()


@functools.lru_cache(maxsize=1024)
def reduced(code: bytes, package: str) -> Reduced:
    """Reduce the source of a module, or the lines of a function, which may be indented.

    Formatting, comments, docstrings, `pass`, other statements that consist of a constant, and the order of adjacent
    imports have no effect, nor have assignments to a class attribute in `LABELS`. Type annotations have an effect.

    Args:
        code: The source. If it cannot be parsed (compiled code, part of a statement), its bytes are hashed.
        package: The package of the module, which relative imports refer to.

    Returns:
        The reduced source.
    """
    imports: list[Import] = []
    try:
        digest = content_hash(list(_words(_parsed(code), package, imports)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Reduced(content_hash(code))
    return Reduced(digest, tuple(imports))


def _parsed(code: bytes) -> list[ast.stmt]:
    try:
        return ast.parse(code).body
    except IndentationError:  # the lines of a method
        (block,) = ast.parse(b"if 1:\n" + code).body
        return block.body  # type: ignore[attr-defined, no-any-return]


def _words(body: list[ast.stmt], package: str, imports: list[Import]) -> Iterator[str]:
    """Yield the syntax tree as words, and add its imports to `imports`.

    Unlike `ast.dump`, the result is the same in all versions of Python: empty fields are left out, because later
    versions have more of them. The function is not recursive, so that it can handle any nesting depth.
    """
    left: list[Any] = [body]
    while left:
        node = left.pop()
        if isinstance(node, ast.Constant):
            yield f"{type(node.value).__name__} {node.value!a}"
        elif isinstance(node, ast.AST):
            yield f"{type(node).__name__}("
            fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
            if isinstance(node, ast.ClassDef):
                fields = [(name, _unlabelled(value) if name == "body" else value) for name, value in fields]
            left += [")", *(part for name, value in reversed(fields) for part in (value, f"{name}="))]
        elif isinstance(node, list):
            yield "["
            left += ["]", *reversed(_items(node, package, imports))]
        else:
            yield ascii(node)


def _items(nodes: list[Any], package: str, imports: list[Import]) -> list[Any]:
    """The nodes of a list without statements that compute nothing; imports are replaced by the names that they bind."""
    items: list[Any] = []
    for are_imports, group in groupby(filter(_computes, nodes), lambda node: isinstance(node, _IMPORTS)):
        if are_imports:
            bound = dict(name for node in group for name in _bound(node, package))
            items += ["import:", *(name for name, _ in sorted(bound))]
            imports += [bound[name] for name in sorted(bound)]
        else:
            items += group
    return items


_IMPORTS = (ast.Import, ast.ImportFrom)


def _computes(node: Any) -> bool:
    return not isinstance(node, ast.Pass) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _unlabelled(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a class without assignments to its labels."""
    return [node for node in body if not (isinstance(node, ast.Assign | ast.AnnAssign) and _target(node) in LABELS)]


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    """The name that an assignment binds; "" if it binds several or something else."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


def _bound(node: Any, package: str) -> Iterator[tuple[tuple[str, str], Import]]:
    """Yield each name that an import binds, and its import; several `*` are distinguished by their modules."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield (alias.asname or alias.name, ""), (alias.name, "")
        else:
            module = imported_from(node, package)
            yield (alias.asname or alias.name, module if alias.name == "*" else ""), (module, alias.name)
