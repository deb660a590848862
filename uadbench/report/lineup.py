"""Figure that compares several models on the same altered scan: one row per model below the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.report.brain_rows import BrainRows, Scale
from uadbench.report.words import near, number
from uadbench.results.examples import EXAMPLES, Examples, has_examples, read_examples
from uadbench.results.schema import Result
from uadbench.runtime.files import atomic_path
from uadbench.types import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_A_PAGE = 10
"""Models on a page of a PDF; with the truth above them they fill the height of A4."""

DPI = 300
ALIKE = 5e-3
"""Tolerance for equal volumes: they are stored with 11 bits, and scans differ by about 1e-4 between machines."""


@dataclass(frozen=True)
class ShownRun:
    """A run in the figure.

    Attributes:
        result: The result of the run.
        differing: Seed, fold and options that distinguish it from other runs of the same model.
        examples: The volumes that the run has stored.
        average_precision: Of the standard map of the case that is shown; None for n/a.
    """

    result: Result
    differing: tuple[str, ...]
    examples: Examples
    average_precision: float | None


def read_entries(runs: Sequence[Path], results: Sequence[Result], tables: Sequence[pd.DataFrame]) -> list[ShownRun]:
    """Read the example case of each run, in the order given.

    Raises:
        InputError: If a run has no pictures, or they are of a different scan.
    """
    entries: list[ShownRun] = []
    for run, result, differing, table in zip(runs, results, _differing(results), tables, strict=True):
        file = (run if run.is_dir() else run.parent) / EXAMPLES
        if not has_examples(file.parent):
            raise InputError(f"{run}: has no {EXAMPLES} to draw; give the run folder that 'uadbench run' wrote")
        examples = read_examples(file)
        case = examples.volumes.get("case")
        if case is None:
            raise InputError(f"{file}: contains no case; run again with --fresh")
        if entries and not _alike(case, entries[0].examples.volumes["case"]):
            raise InputError(f"{runs[0]} and {run} cannot be drawn together: their examples are of different scans")
        # rows are in the order of the test scans, and the case is of the first of them
        rows = table[(table["anomaly"] == result.dementias[0]) & (table["severity"] == near(result, 0.3))]
        precision = float(rows["ap.standard"].iloc[0])
        entries.append(ShownRun(result, differing, examples, None if np.isnan(precision) else precision))
    return entries


def draw_lineup(entries: Sequence[ShownRun], file: Path) -> None:
    """Draw all rows into one tall PNG or SVG file, or into the pages of a PDF file."""
    from matplotlib.backends.backend_pdf import PdfPages

    with atomic_path(file) as partial:
        if file.suffix.lower() != ".pdf":
            lineup(entries, entries).savefig(partial, dpi=DPI)
            return
        with PdfPages(partial) as pages:
            for start in range(0, len(entries), ROWS_A_PAGE):
                pages.savefig(lineup(entries[start : start + ROWS_A_PAGE], entries), dpi=DPI)


def lineup(shown: Sequence[ShownRun], scaled_on: Sequence[ShownRun]) -> Figure:
    """Draw reconstruction, difference and standard map of each entry, in three planes through the largest reduction.

    The rows above show what a perfect model would give, and the altered scan. Red is missing uptake; the outline is
    that of the truth.

    Args:
        shown: The entries on this page.
        scaled_on: The entries that determine the common colour scales, so that all pages have the same.
    """
    result, case = shown[0].result, shown[0].examples.volumes["case"]
    taken = case["healthy"] - case["altered"]
    most, limit = float(np.abs(taken).max()) or 1.0, _common_limit(scaled_on)
    brightest, deepest_percent = float(np.percentile(case["healthy"], 99.8)), 100 * float(case["reduction"].max())
    uptake = Scale("gray", 0.0, brightest, "uptake, in the models' unit", of_map=False)
    difference = Scale("RdBu_r", -most, most, "difference, in the models' unit", cuts=True)
    reduction = Scale("Reds", 0.0, deepest_percent, "true reduction r [%]")
    standard = Scale("RdBu_r", -limit, limit, "standard map [SD of healthy scans]", cuts=True)

    page = BrainRows(shown[0].examples, rows=2 + len(shown), headings=3)
    page.headings(("healthy scan x", "uptake taken, x - x'", "true reduction r"))
    page.row("truth")
    page.volume(0, case["healthy"], uptake, annotated=True)
    page.volume(1, taken, difference)
    page.volume(2, 100 * case["reduction"], reduction)
    page.headings(("altered scan x'", "", ""))
    page.row("input", shown[0].examples.titles["case"])
    page.volume(0, case["altered"], uptake)
    page.colour_bars(1, uptake, difference)
    page.colour_bars(2, reduction, standard)
    page.headings(("reconstruction x̂'", "difference x̂' - x'", "standard map"))
    for entry in shown:
        own = entry.examples.volumes["case"]
        page.row(entry.result.model.name, *entry.differing, f"AP {number(entry.average_precision)}")
        restored = own.get("from_altered")
        if restored is None:
            page.missing(0)
            page.missing(1)
        else:
            page.volume(0, restored, uptake)
            page.volume(1, restored - own["altered"], difference)
        page.volume(2, own["standard_map"], standard)
    page.foot(
        f"Protocol {result.protocol.name}, cohort {result.cohort.tested_on or result.cohort.name}; slices at MNI mm. "
        "AP: average precision of the standard map, this case. Outline: the truth. "
        "Red: missing uptake."
    )
    return page.figure


def _differing(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Seed, fold and options that differ between the runs of one model."""
    settings = [{"seed": r.seed, "fold": r.fold, **r.model.options} for r in results]
    differing = []
    for result, own in zip(results, settings, strict=True):
        others = [each for r, each in zip(results, settings, strict=True) if r.model.name == result.model.name]
        different = {key: value for key, value in own.items() if any(other.get(key) != value for other in others)}
        differing.append(tuple(f"{key} {value}" for key, value in different.items()))
    return differing


def _alike(one: dict[str, Volume], other: dict[str, Volume]) -> bool:
    return all(
        one[name].shape == other[name].shape and np.allclose(one[name], other[name], atol=ALIKE)
        for name in ("healthy", "altered", "reduction")
    )


def _common_limit(entries: Sequence[ShownRun]) -> float:
    """Colour limit of standard maps: the median over models, so that one extreme map does not fade the others."""
    tops = [
        float(np.percentile(np.abs(entry.examples.volumes["case"]["standard_map"][entry.examples.brain]), 99.8))
        for entry in entries
    ]
    positive = [top for top in tops if top > 0]
    return float(np.median(positive)) if positive else 1.0
