"""The report of a result: a self-contained HTML page, with its figures (SVG, PNG) and tables (CSV) as files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from uadbench.metrics.catalogue import heading_of, metric_of
from uadbench.report import paper
from uadbench.report.exhibit import Exhibit
from uadbench.report.exhibits import exhibits
from uadbench.report.people import about
from uadbench.report.template import environment, rendered
from uadbench.report.viewer import page_parts
from uadbench.report.words import number
from uadbench.results.examples import EXAMPLES, has_examples, read_examples
from uadbench.results.near_ideal import near_ideal
from uadbench.results.schema import Result
from uadbench.runtime.files import atomic_path, write_text
from uadbench.runtime.progress import Progress
from uadbench.runtime.text import in_csv
from uadbench.stats.bootstrap import RESAMPLES
from uadbench.types import UNSEEN

if TYPE_CHECKING:
    from markupsafe import Markup

PAGE = "report.html"
DPI = 130


@dataclass(frozen=True)
class Report:
    """A report on disk: its page, and all of its files."""

    page: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Shown:
    """An exhibit for the template: its interactive part, table, picture and CSV as data URIs, and the files written."""

    exhibit: Exhibit
    view: Markup | None
    columns: list[str]
    rows: list[list[str]]
    picture: str
    csv: str
    files: tuple[Path, ...]


def write_report(result: Result, scores: pd.DataFrame, run: Path, folder: Path, progress: Progress) -> Report:
    """Write the page, `figures/` and `tables/` of a result into a folder.

    Args:
        result: The result.
        scores: Its scores, one row per case.
        run: The run folder, which may hold volumes for pictures.
        folder: Where to write.
        progress: Reports progress.

    Returns:
        The page and all files of the report.
    """
    examples = read_examples(run / EXAMPLES) if has_examples(run) else None
    shown = []
    all_exhibits = list(exhibits(result, scores, examples))
    with progress.task(f"report of {result.model.name}", len(all_exhibits)) as task:
        for exhibit in all_exhibits:
            shown.append(_show(exhibit, folder))
            task.advance(1, exhibit.name)
    write_text(folder / PAGE, _page(result, shown))
    return Report(folder / PAGE, (folder / PAGE, *(file for each in shown for file in each.files)))


def methods(result: Result) -> str:
    """A methods paragraph for an article, which describes how the numbers were obtained."""
    text = rendered(
        "methods.txt",
        result=result,
        cohort=result.cohort,
        protocol=paper.protocol_of(result),
        percent=lambda severities: ", ".join(f"{100 * s:g}" for s in severities),
        resamples=f"{RESAMPLES:,}",
    )
    return " ".join(str(text).split()).replace(" ,", ",")


def bibtex(result: Result) -> str:
    """References for that paragraph as BibTeX; since BibTeX uses braces, the template has other delimiters."""
    braced = environment().overlay(variable_start_string="<<", variable_end_string=">>")
    return braced.get_template("references.bib").render(result=result)


def _show(exhibit: Exhibit, folder: Path) -> _Shown:
    picture = csv = ""
    columns: list[str] = []
    rows: list[list[str]] = []
    written: list[Path] = []
    if exhibit.table is not None:
        text = exhibit.table.map(in_csv).rename(columns=in_csv).to_csv(index=False)
        written.append(folder / "tables" / f"{exhibit.name}.csv")
        write_text(written[-1], text)
        csv = _uri("text/csv;charset=utf-8", text.encode())
        columns, rows = list(exhibit.table.columns), exhibit.table.to_numpy().tolist()
    if exhibit.draw is not None:
        figure = exhibit.draw()
        files = {kind: _drawn(figure, kind, exhibit.name) for kind in ("png", "svg")}
        for kind, content in files.items():
            written.append(folder / "figures" / f"{exhibit.name}.{kind}")
            with atomic_path(written[-1]) as partial:
                partial.write_bytes(content)
        # pictures of brains are pixels, and would only be larger as SVG
        kind, media = ("png", "image/png") if exhibit.raster else ("svg", "image/svg+xml")
        picture = _uri(media, files[kind])
    view = exhibit.view() if exhibit.view is not None else None
    return _Shown(exhibit, view, columns, rows, picture, csv, tuple(written))


def _drawn(figure: Any, kind: str, name: str) -> bytes:
    """The content of a figure's file, with reproducible bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    stamp: Mapping[str, None] = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=stamp, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _page(result: Result, shown: list[_Shown]) -> str:
    head = result.headline
    interval = "" if head.ap_interval is None else "95 %: {:.3f} to {:.3f}".format(*head.ap_interval)
    numbers = [
        ("ap_standard", number(head.ap_standard), f"{interval}; {_bounds(result)}"),
        ("ap_dementias", number(head.ap_dementias), _bounds_of(result, result.dementias)),
        ("ap_unseen", number(head.ap_unseen), _bounds_of(result, [UNSEEN])),
        ("ap_native", number(head.ap_native), metric_of("headline.ap_native").help),
        ("healthy_mse", number(head.healthy_mse), metric_of("headline.healthy_mse").help),
    ]
    tiles = [(heading_of(f"headline.{name}"), value, note) for name, value, note in numbers]
    cost = f"{_parameters(result)}; {result.provenance.device}"
    tiles.append((metric_of("cost.inference_seconds_per_scan").label, _milliseconds(result), cost))
    return rendered(
        "report.html",
        result=result,
        parts=page_parts(),
        tiles=tiles,
        shown=shown,
        about=about(result.cohort),
        differences=paper.differences(result),
        methods=methods(result),
        bibtex=bibtex(result),
        options=", ".join(f"{name} = {value}" for name, value in result.model.options.items()) or "none",
    )


def _bounds_of(result: Result, names: Sequence[str]) -> str:
    """Mean chance level of some test sets, which is the same at every severity."""
    at = result.severities[0]
    chance = [value for name in names if (value := result.metric(name, at, "prevalence")) is not None]
    return f"chance {number(sum(chance) / len(chance))}" if chance else ""


def _bounds(result: Result) -> str:
    reference = near_ideal(result)
    return f"chance {number(result.headline.prevalence)}" + (f", {reference}" if reference else "")


def _parameters(result: Result) -> str:
    count = result.cost.parameters
    return "a tool that ran elsewhere" if count is None else f"{count:,} parameters"


def _milliseconds(result: Result) -> str:
    seconds = result.cost.inference_seconds_per_scan
    return "n/a" if seconds is None else f"{1000 * seconds:.1f} ms"
