"""The reference of the model contract, from the checks of `uadbench.testing`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from markdown_text import code, escaped, table

from uadbench.testing import CHECKS


def contract_page() -> str:
    """A row per check, in the order in which they run."""
    return table(["check", "what it requires"], [[code(each.__name__), _summary(each)] for each in CHECKS]) + "\n"


def _summary(check: Callable[..., Any]) -> str:
    """The first paragraph of a check's docstring."""
    return escaped(" ".join((inspect.getdoc(check) or "").split("\n\n")[0].split()))
