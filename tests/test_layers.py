"""The layers of the package: imports run strictly downward, and nothing goes in a circle."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "uadbench"
LAYERS = (
    ("errors", "types"),
    ("runtime",),
    ("registry", "space", "stats"),
    ("cohorts", "metrics", "protocols"),
    ("models", "results", "simulation"),
    ("evaluation", "report", "training"),
    ("application", "runs", "testing", "tracking"),
    ("exchange", "leaderboard"),
    ("launch",),
    ("api",),
    ("cli",),
    ("__main__",),
)
"""Bottom first. A package imports from itself and from rows above its own in this list, never from its own row."""

ROW = {name: row for row, names in enumerate(LAYERS) for name in names}
FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")
MODULES = {
    ".".join(["uadbench", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): file
    for file in FILES
}


def imports_of(file: Path) -> set[str]:
    """The modules of uadbench that a file imports, anywhere in it."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name.split(".")[0] == "uadbench"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "uadbench":
            module = str(node.module)
            names = {f"{module}.{alias.name}" for alias in node.names}
            imported |= names if module == "uadbench" else {n if n in MODULES else module for n in names}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
    return imported


def faults_of(file: Path, package: Path) -> list[str]:
    """What is wrong with the imports of one file."""
    part = file.relative_to(package).parts[0].removesuffix(".py")
    faults = []
    for imported in sorted(imports_of(file)):
        names = imported.split(".")
        if len(names) < 2:
            faults.append(f"{file.name} imports the package root")
        elif names[1] != part and ROW[names[1]] >= ROW[part]:
            faults.append(f"{file.name} (row {ROW[part]}) imports {imported} (row {ROW[names[1]]})")
    return faults


def circle(imports: Mapping[str, set[str]]) -> set[str]:
    """The names that import each other in a circle, and those that import them; empty if there is no circle."""
    left = dict(imports)
    while leaves := [name for name, targets in left.items() if not (targets - {name}) & set(left)]:
        for name in leaves:
            del left[name]
    return set(left)


def test_every_module_has_its_row() -> None:
    assert {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES} == set(ROW)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downward(file: Path) -> None:
    assert faults_of(file, PACKAGE) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    file = tmp_path / "metrics" / "bad.py"
    file.write_text("def f():\n    from uadbench.runs.run import Run\n    from uadbench import cohorts, errors\n")
    assert len(faults_of(file, tmp_path)) == 2
    file.write_text("import uadbench\n")
    assert len(faults_of(file, tmp_path)) == 1


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({name: imports_of(file) for name, file in MODULES.items()}) == set()


@pytest.mark.parametrize("package", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
def test_no_folders_of_a_package_import_each_other_in_a_circle(package: str) -> None:
    """Modules that lie beside the folders count one by one."""
    parts: dict[str, set[str]] = {}
    for name, file in MODULES.items():
        if name.startswith(f"uadbench.{package}."):
            inside = {other.split(".")[2] for other in imports_of(file) if other.startswith(f"uadbench.{package}.")}
            part = name.split(".")[2]
            parts[part] = parts.get(part, set()) | inside
    assert circle(parts) == set()


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a", "c"}, "d": {"a"}, "e": {"e"}}) == {"a", "b", "c", "d"}


def test_only_tracking_imports_mlflow() -> None:
    users = [file.name for file in FILES if "import mlflow" in (t := file.read_text()) or "from mlflow" in t]
    assert users == ["tracking.py"]
