"""Tables that fit the width of the terminal without truncating numbers or names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
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
    # paths, and what other commands show
    *("folder", "source", "hash"),
    # cost
    *(heading_of("cost.inference_seconds_per_scan"), heading_of("cost.train_seconds"), "time left"),
    # details of a comparison
    *("prefer second", "prefer first", "effect"),
    # restoration and detection
    *("healthiness*", "SSIM*", heading_of("identified"), heading_of("detection.severities.monotonicity")),
    *(heading_of("correlation.standard"), heading_of("dice.oracle")),
    *(f"{AUROC} hyper", heading_of("detection.clinical"), "recall*", f"{AUROC} unseen*"),
    # localisation
    *(f"{AP} 50%", f"{AP} 10%", f"{AP} 20%", heading_of("headline.healthy_mse"), f"{AP} 30%"),
    *(heading_of(f"headline.{name}") for name in ("ap_native", "ap_unseen", "ap_dementias")),
    *("specificity*", heading_of("prevalence"), "severity"),
    # prose
    *("tolerance", "note", "type", "missing"),
)
"""Column headings in the order in which columns are dropped from a table that is too wide; others always stay."""

GAP = 2
"""Spaces between two columns."""

PROSE_WIDTH = 20
"""Smallest width of a column of sentences."""

PIPE_WIDTH = 160
"""Width of output that does not go to a terminal."""

Kind = Literal["number", "name", "prose"]


def terminal() -> Terminal:
    """A console on standard output, as wide as the terminal."""
    console = Terminal(highlight=False)
    return console if console.is_terminal else Terminal(width=PIPE_WIDTH, highlight=False)


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers and names stay on one line, prose may wrap."""

    heading: str
    kind: Kind = "number"
    style: str = ""


@dataclass(frozen=True)
class _Cell:
    text: Text
    wraps: bool = False

    @property
    def least(self) -> int:
        """Smallest width that does not truncate the cell."""
        if not self.wraps:
            return self.text.cell_len
        return min(PROSE_WIDTH, max((Text(word).cell_len for word in self.text.plain.split()), default=0))


class Fitted:
    """A table that chooses a layout that fits the terminal.

    The layouts are tried in this order: as it is; transposed; with fewer columns, which a line below the table names;
    each row as a transposed table of its own.

    Args:
        *columns: The columns; a string is the heading of a column of numbers.
        title: A line above the table.
    """

    def __init__(self, *columns: Column | str, title: str = "") -> None:
        self.columns = [Column(column) if isinstance(column, str) else column for column in columns]
        self.rows: list[list[_Cell]] = []
        self.sections: dict[int, Text] = {}
        """Headings between rows, by the number of the row that follows."""
        self.title = title

    def add_section(self, heading: str) -> None:
        """Add a heading above the rows that follow; a transposed table has no headings."""
        self.sections[len(self.rows)] = Text(heading, style="bold")

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row.

        Args:
            *cells: Plain or styled text, one cell for each column.
            style: Style of the whole row.
        """
        row = []
        for column, cell in zip(self.columns, cells, strict=True):
            text = Text(cell) if isinstance(cell, str) else cell.copy()
            text.stylize_before(f"{column.style} {style}".strip())
            row.append(_Cell(text, column.kind == "prose"))
        self.rows.append(row)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table in the first layout that fits."""
        if self.title:
            yield Text(self.title)
        yield from self._forms(options.max_width)

    def _forms(self, width: int) -> Iterator[Table | Text]:
        whole = _Grid(self.columns, self.rows)
        if whole.least <= width:
            yield from whole.tables(width, self.sections)
            return
        turned = whole.turned()
        if turned.least <= width:
            yield turned.table(width)
            return
        smaller, dropped = whole.without_least_wanted(width)
        if smaller.least <= width:
            yield from smaller.tables(width, self.sections)
            yield Text(
                f"left out at width {width}: {', '.join(dropped)}; use a wider terminal or --json",
                style="dim",
            )
            return
        for number, row in enumerate(self.rows):
            if number in self.sections:
                yield self.sections[number]
            yield _Grid(self.columns, [row]).turned().table(width)


def label_table(pairs: Sequence[tuple[str, str]]) -> Fitted:
    """A table without headings that shows a label and a text in each row."""
    table = Fitted(Column("", "name", style="bold"), Column("", "prose"))
    for label, text in pairs:
        table.add_row(label, text)
    return table


class _Grid:
    """Columns and rows in one layout."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[_Cell]]) -> None:
        self.columns = list(columns)
        self.rows = [list(row) for row in rows]

    @property
    def least(self) -> int:
        """Smallest width that truncates nothing."""
        return sum(low for low, _ in self._bounds()) + GAP * (len(self.columns) - 1)

    def _bounds(self) -> list[tuple[int, int]]:
        """Smallest and largest useful width of each column."""
        bounds = []
        for index, column in enumerate(self.columns):
            cells = [row[index] for row in self.rows]
            word = max((Text(word).cell_len for word in column.heading.split()), default=0)
            low = max([word, *(cell.least for cell in cells)])
            bounds.append((low, max([low, Text(column.heading).cell_len, *(cell.text.cell_len for cell in cells)])))
        return bounds

    def turned(self) -> _Grid:
        """The transposed table."""
        first, *others = self.columns
        columns = [Column(first.heading, "name")]
        kind: Kind = "name" if any(column.kind == "prose" for column in others) else "number"
        columns += [Column(row[0].text.plain, kind) for row in self.rows]
        rows = [
            [_Cell(Text(column.heading)), *(row[index] for row in self.rows)]
            for index, column in enumerate(self.columns)
            if index
        ]
        return _Grid(columns, rows)

    def without_least_wanted(self, width: int) -> tuple[_Grid, list[str]]:
        """A table without the columns that have to be dropped, and their headings."""
        grid, dropped = self, list[str]()
        for pattern in LEAST_WANTED:
            for column in reversed(grid.columns[1:]):
                if grid.least > width and fnmatchcase(column.heading, pattern):
                    grid = grid._without(column)
                    dropped.append(column.heading)
        return grid, dropped

    def _without(self, column: Column) -> _Grid:
        index = self.columns.index(column)
        rows = [row[:index] + row[index + 1 :] for row in self.rows]
        return _Grid(self.columns[:index] + self.columns[index + 1 :], rows)

    def table(self, width: int) -> Table:
        """The Rich table, at most `width` characters wide."""
        return self._rich(self._widths(width), self.rows, headed=any(column.heading for column in self.columns))

    def tables(self, width: int, sections: Mapping[int, Text]) -> Iterator[Table | Text]:
        """The Rich table in parts of the same column widths, with a heading above each part but the first."""
        if not sections:
            yield self.table(width)
            return
        widths = self._widths(width)
        starts = sorted({0, *sections, len(self.rows)})
        yield self._rich(widths, [], headed=True)
        for start, end in pairwise(starts):
            if start in sections:
                yield sections[start]
            yield self._rich(widths, self.rows[start:end], headed=False)

    def _rich(self, widths: Sequence[int], rows: Sequence[Sequence[_Cell]], *, headed: bool) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, show_header=headed, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for column, size in zip(self.columns, widths, strict=True):
            justify: Literal["right", "left"] = "right" if column.kind == "number" else "left"
            table.add_column(Text(column.heading), justify=justify, width=size, overflow="fold", vertical="top")
        for row in rows:
            table.add_row(*(cell.text for cell in row))
        return table

    def _widths(self, width: int) -> list[int]:
        """Widths of the columns: what each needs, plus a share of the rest; the last shrinks if there is no room."""
        bounds = self._bounds()
        widths = [low for low, _ in bounds]
        spare = width - self.least
        if spare < 0:
            widths[-1] = max(1, widths[-1] + spare)
            return widths
        modest_first = sorted(range(len(bounds)), key=lambda index: bounds[index][1] - bounds[index][0])
        for done, index in enumerate(modest_first):
            low, high = bounds[index]
            extra = min(high - low, spare // (len(bounds) - done))
            widths[index] += extra
            spare -= extra
        return widths
