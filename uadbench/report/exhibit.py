"""One exhibit of a report: a caption with a table, a figure, or an interactive part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Exhibit:
    """One exhibit of a report.

    Attributes:
        name: Name of its files.
        title: Title.
        caption: Explanation of how to read it.
        of_paper: Whether it corresponds to an exhibit of the paper.
        table: Formatted numbers, or None.
        draw: Draws the figure, or None.
        raster: Whether the figure consists mostly of pixels.
        view: Makes an interactive part, or None.
    """

    name: str
    title: str
    caption: str
    of_paper: bool
    table: pd.DataFrame | None = None
    draw: Callable[[], Figure] | None = None
    raster: bool = False
    view: Callable[[], Markup] | None = None
