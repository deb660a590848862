"""The generated parts of pages, written as Markdown before each build.

The pages in `docs/reference/`, `docs/get-started/notebook.md` and `docs/concepts/findings.md` include what is written
to `docs/reference/_generated/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from notebook_text import notebook_page
from reference_columns import columns_page
from reference_commands import commands_page
from reference_contract import contract_page
from reference_findings import findings_page
from reference_models import models_page
from reference_regions import regions_page
from reference_schema import schema_page

PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "models.md": models_page,
    "dementia-masks.md": regions_page,
    "contract.md": contract_page,
    "score-columns.md": columns_page,
    "result-schema.md": schema_page,
    "findings.md": findings_page,
    "notebook.md": notebook_page,
}
"""File in `docs/reference/_generated/` -> what writes its text."""


def write_pages(folder: Path) -> None:
    """Write every generated part; an unchanged file is left alone, for Sphinx rereads what is newer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text_of in PAGES.items():
        file, text = folder / name, text_of()
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def plain_docstrings(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Escape `*` and `|` outside of code: docstrings write formulas and shapes, `(N, *shape)`, as they are."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[number] = "".join(part if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference" / "_generated"))
    app.connect("autodoc-process-docstring", plain_docstrings, priority=100)  # before napoleon adds markup of its own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
