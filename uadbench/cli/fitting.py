"""Tables that fit the terminal: no number and no name is ever cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from uadbench.metrics.catalogue import heading_of
from uadbench.runtime.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

AP, AUROC = heading_of("ap.standard"), heading_of("detection.testsets.auroc")

LEAST_WANTED = (
    # what lies where, and what else is known from elsewhere
    *("folder", "source", "from", "hash"),
    # cost
    *(heading_of("cost.inference_seconds_per_scan"), heading_of("cost.train_seconds"), "about"),
    # details of a comparison
    *("prefer second", "prefer first", "effect"),
    # restoration and detection
    *("healthiness*", "SSIM*", heading_of("identified"), heading_of("detection.severities.monotonicity")),
    *(heading_of("correlation.standard"), heading_of("dice.oracle")),
    *(f"{AUROC} hyper", heading_of("detection.clinical"), "recall*", f"{AUROC} unseen*"),
    # localisation
    *(f"{AP} 50%", f"{AP} 10%", f"{AP} 20%", heading_of("headline.healthy_mse"), f"{AP} 30%"),
    *(heading_of(f"headline.{name}") for name in ("ap_native", "ap_unseen", "ap_dementias")),
    *("specificity*", heading_of("prevalence"), heading_of("ap.ceiling"), "severity"),
    # prose
    *("tolerance", "note", "type", "missing"),
)
"""Headings of columns in the order in which they are left out of a table that is too wide; others always stay."""

GAP = 2
"""Blanks between two columns."""

PROSE_WIDTH = 20
"""The least width of a column of sentences."""

PIPE_WIDTH = 160
"""What is not a terminal has no width of its own."""

Kind = Literal["number", "name", "prose"]


def terminal() -> Terminal:
    """Standard output, as wide as its terminal."""
    console = Terminal(highlight=False)
    return console if console.is_terminal else Terminal(width=PIPE_WIDTH, highlight=False)


@dataclass(frozen=True)
class Column:
    """A column; numbers and names stay on one line, prose may be wrapped."""

    heading: str
    kind: Kind = "number"
    style: str = ""


@dataclass(frozen=True)
class _Cell:
    text: Text
    wraps: bool = False

    @property
    def least(self) -> int:
        """The width below which it would be cut."""
        if not self.wraps:
            return self.text.cell_len
        return min(PROSE_WIDTH, max((Text(word).cell_len for word in self.text.plain.split()), default=0))


class Fitted:
    """A table that takes the form that its terminal has room for.

    As it is; else turned on its side, rows becoming columns; else without some columns, which a line below names; else
    row by row, each turned on its side.

    Args:
        *columns: Columns, or headings of columns of numbers.
        title: A line above.
    """

    def __init__(self, *columns: Column | str, title: str = "") -> None:
        self.columns = [Column(column) if isinstance(column, str) else column for column in columns]
        self.rows: list[list[_Cell]] = []
        self.title = title

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row of plain or styled text, one cell for each column."""
        row = []
        for column, cell in zip(self.columns, cells, strict=True):
            text = Text(cell) if isinstance(cell, str) else cell.copy()
            text.stylize_before(f"{column.style} {style}".strip())
            row.append(_Cell(text, column.kind == "prose"))
        self.rows.append(row)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The form that fits."""
        if self.title:
            yield Text(self.title)
        yield from self._forms(options.max_width)

    def _forms(self, width: int) -> Iterator[Table | Text]:
        whole = _Grid(self.columns, self.rows)
        if whole.least <= width:
            yield whole.table(width)
            return
        turned = whole.turned()
        if turned.least <= width:
            yield turned.table(width)
            return
        smaller, dropped = whole.without_least_wanted(width)
        if smaller.least <= width:
            yield smaller.table(width)
            yield Text(
                f"left out at {width} columns: {', '.join(dropped)}; a wider terminal or --json shows them", style="dim"
            )
            return
        for row in self.rows:
            yield _Grid(self.columns, [row]).turned().table(width)


def facts(pairs: Sequence[tuple[str, str]]) -> Fitted:
    """Labels, each with what is to be said of it, line by line."""
    table = Fitted(Column("", "name", style="bold"), Column("", "prose"))
    for label, text in pairs:
        table.add_row(label, text)
    return table


class _Grid:
    """Columns and rows in one of their forms."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[_Cell]]) -> None:
        self.columns = list(columns)
        self.rows = [list(row) for row in rows]

    @property
    def least(self) -> int:
        """The width below which something would be cut."""
        return sum(low for low, _ in self._bounds()) + GAP * (len(self.columns) - 1)

    def _bounds(self) -> list[tuple[int, int]]:
        """For each column the width below which it is cut, and that beyond which it gains nothing."""
        found = []
        for place, column in enumerate(self.columns):
            cells = [row[place] for row in self.rows]
            word = max((Text(word).cell_len for word in column.heading.split()), default=0)
            low = max([word, *(cell.least for cell in cells)])
            found.append((low, max([low, Text(column.heading).cell_len, *(cell.text.cell_len for cell in cells)])))
        return found

    def turned(self) -> _Grid:
        """Rows as columns."""
        first, *others = self.columns
        columns = [Column(first.heading, "name")]
        kind: Kind = "name" if any(column.kind == "prose" for column in others) else "number"
        columns += [Column(row[0].text.plain, kind) for row in self.rows]
        rows = [
            [_Cell(Text(column.heading)), *(row[place] for row in self.rows)]
            for place, column in enumerate(self.columns)
            if place
        ]
        return _Grid(columns, rows)

    def without_least_wanted(self, width: int) -> tuple[_Grid, list[str]]:
        """Without as many columns as it takes to fit; their headings."""
        grid, dropped = self, list[str]()
        for pattern in LEAST_WANTED:
            for column in reversed(grid.columns[1:]):
                if grid.least > width and fnmatchcase(column.heading, pattern):
                    grid = grid._without(column)
                    dropped.append(column.heading)
        return grid, dropped

    def _without(self, column: Column) -> _Grid:
        place = self.columns.index(column)
        rows = [row[:place] + row[place + 1 :] for row in self.rows]
        return _Grid(self.columns[:place] + self.columns[place + 1 :], rows)

    def table(self, width: int) -> Table:
        """The table, at most `width` wide."""
        headed = any(column.heading for column in self.columns)
        table = Table(box=SIMPLE_HEAD, show_edge=False, show_header=headed, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for column, size in zip(self.columns, self._widths(width), strict=True):
            justify: Literal["right", "left"] = "right" if column.kind == "number" else "left"
            table.add_column(Text(column.heading), justify=justify, width=size, overflow="fold", vertical="top")
        for row in self.rows:
            table.add_row(*(cell.text for cell in row))
        return table

    def _widths(self, width: int) -> list[int]:
        """What columns need, and what they could use of the rest; the last pays where even that is too much."""
        bounds = self._bounds()
        widths = [low for low, _ in bounds]
        spare = width - self.least
        if spare < 0:
            widths[-1] = max(1, widths[-1] + spare)
            return widths
        modest_first = sorted(range(len(bounds)), key=lambda place: bounds[place][1] - bounds[place][0])
        for done, place in enumerate(modest_first):
            low, high = bounds[place]
            grant = min(high - low, spare // (len(bounds) - done))
            widths[place] += grant
            spare -= grant
        return widths
