"""One thing that a report shows: words, a table, a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Exhibit:
    """One thing to show.

    Attributes:
        name: Of its files.
        title, caption: What it is, and how to read it.
        of_paper: Whether the paper has it.
        table: Numbers as text, ready to be shown, or None.
        draw: Makes the figure, or None.
        raster: Whether the figure is mostly pixels.
    """

    name: str
    title: str
    caption: str
    of_paper: bool
    table: pd.DataFrame | None = None
    draw: Callable[[], Figure] | None = None
    raster: bool = False
