"""The house stands: imports run strictly downward, row by row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "uadbench"
ROWS = {
    "errors": 0,
    "types": 1,
    "progress": 1,
    "parts": 1,
    "store": 1,
    "secrecy": 1,
    "reading": 1,
    "text": 1,
    "decimals": 1,
    "parquet": 1,
    "registry": 1,
    "modulefile": 1,
    "atlas": 1,
    "gaussian": 1,
    "allocator": 1,
    "precision": 1,
    "sidebyside": 1,
    "timing": 1,
    "timelimit": 1,
    "commands": 1,
    "plurals": 1,
    "locks": 1,
    "claims": 1,
    "failures": 1,
    "resampling": 1,
    "protocol": 2,
    "batches": 2,
    "cohorts": 2,
    "anomalies": 2,
    "models": 2,
    "results": 2,
    "proportions": 2,
    "statistics": 2,
    "testset": 3,
    "training": 3,
    "simulation": 3,
    "provenance": 3,
    "source": 3,
    "syntax": 2,
    "examples": 3,
    "scores": 3,
    "model_scores": 3,
    "analysis": 4,
    "comparison": 4,
    "verdicts": 4,
    "material": 4,
    "evaluation": 4,
    "modelcard": 4,
    "runs": 5,
    "report": 5,
    "sharing": 5,
    "tracking": 6,
    "leaderboard": 6,
    "exchange": 6,
    "launch": 7,
    "testing": 7,
    "cli": 8,
}
"""`errors` stands under row 1, whose files may use one another's terms, as long as no import goes in a circle."""


def imports_of(file: Path) -> set[str]:
    """The modules of uadbench that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "uadbench"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "uadbench":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "uadbench" else {str(node.module)}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
    return found


def faults_of(file: Path, package: Path) -> list[str]:
    """What is wrong with the imports of one file."""
    part = file.relative_to(package).parts[0].removesuffix(".py")
    faults = []
    for imported in imports_of(file):
        names = imported.split(".")
        if len(names) < 2:
            faults.append(f"{file.name} imports the package root")
            continue
        target = names[1]
        if target == part or (ROWS[part] == ROWS[target] == 1):
            continue
        if ROWS[target] >= ROWS[part]:
            faults.append(f"{file.name} (row {ROWS[part]}) imports {imported} (row {ROWS[target]})")
    return faults


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.name != "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downward(file: Path) -> None:
    assert faults_of(file, PACKAGE) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    file = tmp_path / "metrics" / "bad.py"
    file.write_text("def f():\n    from uadbench.runs.keys import Cell\n    import uadbench\n")
    assert len(faults_of(file, tmp_path)) == 2


def test_row_one_has_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    for file in FILES:
        part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if ROWS[part] in {0, 1}:
            edges.setdefault(part, set()).update({name.split(".")[1] for name in imports_of(file)} - {part})
    left = dict(edges)
    while left:
        leaves = [name for name, targets in left.items() if not targets & set(left)]
        assert leaves, f"a circle among {sorted(left)}"
        for name in leaves:
            del left[name]


def test_only_tracking_imports_mlflow() -> None:
    users = [file.name for file in FILES if "import mlflow" in (t := file.read_text()) or "from mlflow" in t]
    assert users == ["tracking.py"]
